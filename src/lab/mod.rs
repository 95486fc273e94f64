//! A laboratory of network namespaces: nodes, a client, cables and faults on one machine.
