//! The links between the machines, each direction for itself.
use super::random::Random;

/// One direction of one link. Times in µs, chances in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Nothing passes.
    pub cut: bool,
    /// The least time a frame takes.
    pub delay: u64,
    /// Up to so much more: frames overtake one another.
    pub jitter: u64,
    /// Frames that are lost.
    pub loss: u64,
    /// Frames that arrive twice.
    pub doubled: u64,
    /// Frames that begin a burst in which all are lost …
    pub bursts: u64,
    /// … for so long.
    pub burst: u64,
    /// The present burst ends then (true time).
    pub bad_until: u64,
}

impl Wire {
    /// A good cable: 100 to 150 µs, nothing lost.
    pub const GOOD: Wire = Wire {
        cut: false,
        delay: 100,
        jitter: 50,
        loss: 0,
        doubled: 0,
        bursts: 0,
        burst: 0,
        bad_until: 0,
    };

    /// Whether every frame passes, in `prompt` µs at most.
    pub fn is_good(&self, now: u64, prompt: u64) -> bool {
        let passes = !self.cut && self.delay + self.jitter <= prompt;
        passes && self.loss == 0 && self.bursts == 0 && now >= self.bad_until
    }
}

/// All the wires.
#[derive(Clone, Debug)]
pub struct Network {
    nodes: usize,
    links: usize,
    wires: Vec<Wire>,
}

impl Network {
    /// Good cables from every node to every other on every link.
    pub fn new(nodes: usize, links: usize) -> Network {
        Network { nodes, links, wires: vec![Wire::GOOD; nodes * nodes * links] }
    }

    /// How many links there are.
    pub fn links(&self) -> usize {
        self.links
    }

    /// The direction `from` → `to` of `link`.
    pub fn wire(&mut self, link: usize, from: usize, to: usize) -> &mut Wire {
        &mut self.wires[(link * self.nodes + from) * self.nodes + to]
    }

    /// All of them.
    pub fn wires(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.wires.iter_mut()
    }

    /// When the copies of a frame sent at `now` arrive.
    pub fn carry(&mut self, random: &mut Random, now: u64, path: [usize; 3]) -> [Option<u64>; 2] {
        let [link, from, to] = path;
        let wire = self.wire(link, from, to);
        if random.chance(wire.bursts) {
            wire.bad_until = now + wire.burst;
        }
        if wire.cut || now < wire.bad_until || random.chance(wire.loss) {
            return [None, None];
        }
        let mut arrival = || now + wire.delay + random.between(0, wire.jitter);
        let (first, second) = (arrival(), arrival());
        [Some(first), random.chance(wire.doubled).then_some(second)]
    }
}
