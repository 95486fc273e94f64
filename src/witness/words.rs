//! What a witness tells people. It knows nodes and groups only by their numbers.
use crate::config::{WitnessConfig, tag_of};
use crate::core::id::{LinkId, NodeId};
use crate::core::time::Instant;
use crate::core::witness::{Event, Note};
use crate::link::Loss;
use crate::tell::{Level, Teller, span};

/// Makes sentences of events.
pub(super) struct Words {
    clusters: Vec<(u32, String)>,
    links: Vec<String>,
    name: String,
    teller: Teller,
}

impl Words {
    pub(super) fn new(config: &WitnessConfig, teller: Teller) -> Words {
        let clusters =
            config.clusters.iter().map(|ward| (tag_of(&ward.cluster), ward.cluster.clone()));
        Words {
            clusters: clusters.collect(),
            links: config.links.iter().map(|link| link.name.clone()).collect(),
            name: config.name.clone(),
            teller,
        }
    }

    pub(super) fn opened(&self, link: LinkId) {
        self.teller.say(Level::Info, format!("link {} is open", self.link(link)));
    }

    pub(super) fn lost(&self, link: LinkId, loss: Loss) {
        let text = format!("link {} is lost: {loss}; it is opened again", self.link(link));
        self.teller.say(Level::Warning, text);
    }

    pub(super) fn not_alone(&self) {
        let text = "a node has heard a frame of ours that we have not sent: a second witness runs \
                    with our random numbers (a clone or a restored snapshot); beginning anew";
        self.teller.say(Level::Error, text);
    }

    pub(super) fn tell(&self, now: Instant, note: Note) {
        let cluster = self.clusters.iter().find(|known| known.0 == note.tag);
        let cluster = cluster.map_or("", |known| known.1.as_str());
        let (level, text) = self.sentence(now, cluster, note.event);
        self.teller.say(level, text);
    }

    fn sentence(&self, now: Instant, cluster: &str, event: Event) -> (Level, String) {
        let node = |node: NodeId| format!("cluster {cluster}: node {}", node.index() + 1);
        match event {
            Event::Alive(who) => (Level::Notice, format!("{} is alive", node(who))),
            Event::Silent(who) => (Level::Warning, format!("{} has fallen silent", node(who))),
            Event::Left(who) => (Level::Notice, format!("{} said goodbye", node(who))),
            Event::Restarted(who) => {
                (Level::Notice, format!("{}: its daemon was restarted", node(who)))
            }
            Event::Granted(who, group, until) => {
                let left = span(until.since(now));
                let what = format!("has the vote for group {:08x} for {left}", group.0);
                (Level::Debug, format!("{} {what}, unless it renews it", node(who)))
            }
            Event::UnknownCluster(link) => {
                let what = "frames of a cluster come that this witness has no keys of";
                let cure = "add --cluster NAME=KEYFILE if it is to serve it, and compare the names";
                (Level::Warning, format!("link {}: {what}; {cure}", self.link(link)))
            }
            Event::Unsealed(who, link) => {
                let what = format!("frames come on link {}", self.link(link));
                let cure = "copy the key file of the nodes";
                (Level::Error, format!("{}: {what} that no key here opens; {cure}", node(who)))
            }
            Event::Namesake(who) => {
                let what = format!("another witness {} answers the nodes too", self.name);
                let cure = "stop one of the two: together they can give two nodes the same group";
                (Level::Error, format!("{what}, as {}; {cure}", node(who)))
            }
            Event::NotListed(who) => {
                let what = format!("its configuration has no witness {}", self.name);
                let cure = "add `[[witness]]` there, or correct --name here";
                (Level::Error, format!("{}: {what}; {cure}", node(who)))
            }
            Event::Full(who) => {
                let what = "there is no room for it or for one of its groups";
                (Level::Error, format!("{}: {what}; has its list changed too often?", node(who)))
            }
            Event::Lost(count) => {
                (Level::Warning, format!("{count} events were lost: too many at once"))
            }
        }
    }

    fn link(&self, link: LinkId) -> &str {
        self.links.get(link.index()).map_or("?", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::NameHash;

    #[test]
    fn every_sentence_names_what_and_the_cure() {
        let (teller, _) = crate::tell::start(
            crate::tell::Settings::new(crate::config::Log::default()),
            crate::tell::Names::default(),
        )
        .expect("a log");
        let words = Words {
            clusters: vec![(7, "ftp".into())],
            links: vec!["eth0 broadcast".into()],
            name: "pico".into(),
            teller,
        };
        let (node, link) = (NodeId::new(1).expect("few"), LinkId::new(0).expect("few"));
        let now = Instant::from_micros(1_000_000);
        let until = Instant::from_micros(3_500_000);
        for (event, said) in [
            (Event::Alive(node), "cluster ftp: node 2 is alive"),
            (Event::Granted(node, NameHash(0x12ab), until), "group 000012ab for 2.50 s"),
            (Event::UnknownCluster(link), "link eth0 broadcast: frames of a cluster"),
            (Event::Unsealed(node, link), "copy the key file"),
            (Event::NotListed(node), "no witness pico; add `[[witness]]`"),
        ] {
            let (_, text) = words.sentence(now, "ftp", event);
            assert!(text.contains(said), "{text}");
        }
    }
}
