//! A breadth-first model checker that keeps the graph of the states it has visited.
//!
//! Why not a library: the liveness that is wanted here ("when faults stop, every weakly fair run settles") is a question
//! about cycles of the graph, which stateright's `eventually` cannot answer and whose graph it does not hand out.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use crate::processes::{left_to_the_user, settled};
use crate::steps::{Origin, Step, steps};
use crate::world::{Broken, Rules, World};

/// The number of faults and commands on one path through the graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) faults: u8,
    pub(crate) commands: u8,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} faults and {} commands", self.faults, self.commands)
    }
}

/// A violation, and the path to it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: Why,
    pub(crate) trace: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has happened.
    Broken(Broken),
    /// After the last fault, all processes can go on for ever without reaching what the user wants.
    NeverSettles,
    /// The world was settled, no fault or command came, and it did not stay settled.
    Unsettles,
}

/// What was visited.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    /// Steps taken, to known states too.
    pub(crate) steps: u64,
    /// Different states.
    pub(crate) states: usize,
    /// Settled states.
    pub(crate) settled: usize,
    /// The length of the longest shortest path from the start.
    pub(crate) depth: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} unique states, {} of them settled, depth {}",
            self.steps, self.states, self.settled, self.depth
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}\n{}", self.why, self.trace.join("\n"))
    }
}

/// Multiplies and rotates, as the compiler's own tables do; the states are not chosen by an attacker.
#[derive(Default)]
struct Fast(u64);

impl Hasher for Fast {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// How a state was reached first.
#[derive(Clone, Copy)]
struct From {
    parent: u32,
    what: &'static str,
    depth: u32,
}

#[derive(Clone, Copy)]
struct Edge {
    to: u32,
    origin: Origin,
    what: &'static str,
}

struct Graph {
    known: HashMap<World, u32, BuildHasherDefault<Fast>>,
    states: Vec<World>,
    from: Vec<From>,
    /// For each state, a bit for each number of faults and commands that it was visited with.
    spent: Vec<u64>,
    /// The progress steps, and where those of each state are.
    edges: Vec<Edge>,
    edges_of: Vec<Option<(u32, u8)>>,
    steps: u64,
}

/// Visits every state within `bound`, from each of `starts`.
pub(crate) fn check(starts: &[World], rules: &Rules, bound: Bound) -> Result<Size, Failure> {
    let pairs = (u32::from(bound.faults) + 1) * (u32::from(bound.commands) + 1);
    assert!(pairs <= u64::BITS, "no machine gets that far: {bound}");
    let mut graph = Graph {
        known: HashMap::default(),
        states: Vec::new(),
        from: Vec::new(),
        spent: Vec::new(),
        edges: Vec::new(),
        edges_of: Vec::new(),
        steps: 0,
    };
    graph.explore(starts, rules, bound)?;
    let settled = graph.check_liveness()?;
    Ok(Size {
        steps: graph.steps,
        states: graph.states.len(),
        settled,
        depth: graph.from.iter().map(|from| from.depth).max().unwrap_or(0),
    })
}

const NO_PARENT: u32 = u32::MAX;

impl Graph {
    /// The number of a state, and whether it must be visited with this much spent: not if it was visited with less.
    fn reach(&mut self, world: World, from: From, bound: Bound, spent: (u8, u8)) -> (u32, bool) {
        let next = self.states.len() as u32;
        let number = *self.known.entry(world).or_insert(next);
        if number == next {
            self.states.push(world);
            self.from.push(from);
            self.spent.push(0);
            self.edges_of.push(None);
        }
        let width = bound.commands + 1;
        let seen = self.spent[number as usize];
        let dominated = (0..=spent.0).any(|faults| {
            (0..=spent.1).any(|commands| seen >> (faults * width + commands) & 1 == 1)
        });
        if !dominated {
            self.spent[number as usize] |= 1 << (spent.0 * width + spent.1);
        }
        (number, !dominated)
    }

    fn explore(&mut self, starts: &[World], rules: &Rules, bound: Bound) -> Result<(), Failure> {
        let levels = usize::from(bound.faults) + usize::from(bound.commands) + 1;
        let mut queues: Vec<Vec<(u32, u8, u8)>> = vec![Vec::new(); levels + 1];
        for start in starts {
            let from = From {
                parent: NO_PARENT,
                what: "",
                depth: 0,
            };
            let (number, _) = self.reach(*start, from, bound, (0, 0));
            queues[0].push((number, 0, 0));
        }
        let mut next: Vec<Step> = Vec::new();
        for level in 0..levels {
            let mut queue = std::mem::take(&mut queues[level]);
            let mut at = 0;
            while at < queue.len() {
                let (number, faults, commands) = queue[at];
                at += 1;
                let world = self.states[number as usize];
                let depth = self.from[number as usize].depth + 1;
                steps(
                    &world,
                    rules,
                    faults < bound.faults,
                    commands < bound.commands,
                    &mut next,
                );
                self.steps += next.len() as u64;
                let first_time = self.edges_of[number as usize].is_none();
                let first_edge = self.edges.len() as u32;
                for step in &next {
                    let from = From {
                        parent: number,
                        what: step.what,
                        depth,
                    };
                    let spent = match step.origin {
                        Origin::Fault => (faults + 1, commands),
                        Origin::Command => (faults, commands + 1),
                        _ => (faults, commands),
                    };
                    let (to, worth) = self.reach(step.next, from, bound, spent);
                    if let Some(broken) = step.next.broken {
                        return Err(self.failure(Why::Broken(broken), to, Vec::new()));
                    }
                    if first_time && step.origin.is_progress() {
                        self.edges.push(Edge {
                            to,
                            origin: step.origin,
                            what: step.what,
                        });
                    }
                    if worth && spent == (faults, commands) {
                        queue.push((to, faults, commands));
                    } else if worth {
                        queues[level + 1].push((to, spent.0, spent.1));
                    }
                }
                if first_time {
                    let count = (self.edges.len() as u32 - first_edge) as u8;
                    self.edges_of[number as usize] = Some((first_edge, count));
                }
            }
        }
        Ok(())
    }

    fn edges(&self, number: u32) -> &[Edge] {
        match self.edges_of[number as usize] {
            Some((first, count)) => {
                &self.edges[first as usize..first as usize + usize::from(count)]
            }
            None => &[],
        }
    }

    fn failure(&self, why: Why, number: u32, more: Vec<String>) -> Failure {
        let mut trace = Vec::new();
        let mut at = number;
        while at != NO_PARENT {
            let from = self.from[at as usize];
            trace.push(from.what.to_owned());
            at = from.parent;
        }
        trace.reverse();
        trace.push(format!("{:#?}", self.states[number as usize]));
        trace.extend(more);
        Failure { why, trace }
    }

    /// A weakly fair run that never settles is a strongly connected part of the graph, outside of the settled states,
    /// in which every origin that could always act does act. All such parts are checked, so this is both
    /// sound and complete for what was explored. (Tarjan's algorithm, without recursion.)
    fn check_liveness(&self) -> Result<usize, Failure> {
        let count = self.states.len();
        let good: Vec<bool> = self
            .states
            .iter()
            .map(|world| settled(world) || left_to_the_user(world))
            .collect();
        for number in 0..count as u32 {
            if settled(&self.states[number as usize]) {
                for edge in self.edges(number) {
                    if !good[edge.to as usize] {
                        return Err(self.failure(Why::Unsettles, edge.to, Vec::new()));
                    }
                }
            }
        }
        let unseen = u32::MAX;
        let mut index = vec![unseen; count];
        let mut low = vec![0u32; count];
        let mut on_stack = vec![false; count];
        let mut stack: Vec<u32> = Vec::new();
        let mut calls: Vec<(u32, usize)> = Vec::new();
        let mut counter = 0;
        for root in 0..count as u32 {
            if good[root as usize] || index[root as usize] != unseen {
                continue;
            }
            calls.push((root, 0));
            while let Some((node, position)) = calls.pop() {
                let here = node as usize;
                if position == 0 {
                    index[here] = counter;
                    low[here] = counter;
                    counter += 1;
                    stack.push(node);
                    on_stack[here] = true;
                }
                let edges = self.edges(node);
                let mut position = position;
                let mut descends = false;
                while position < edges.len() {
                    let to = edges[position].to as usize;
                    position += 1;
                    if good[to] {
                        continue;
                    }
                    if index[to] == unseen {
                        calls.push((node, position));
                        calls.push((to as u32, 0));
                        descends = true;
                        break;
                    }
                    if on_stack[to] {
                        low[here] = low[here].min(index[to]);
                    }
                }
                if descends {
                    continue;
                }
                if low[here] == index[here] {
                    let start = stack.iter().rposition(|other| *other == node).unwrap_or(0);
                    let part = stack.split_off(start);
                    for member in &part {
                        on_stack[*member as usize] = false;
                    }
                    self.check_part(&part)?;
                }
                if let Some((parent, _)) = calls.last() {
                    let parent = *parent as usize;
                    low[parent] = low[parent].min(low[here]);
                }
            }
        }
        Ok(self.states.iter().filter(|world| settled(world)).count())
    }

    /// Whether a weakly fair run can stay in this strongly connected part for ever.
    fn check_part(&self, part: &[u32]) -> Result<(), Failure> {
        let members: std::collections::HashSet<u32, BuildHasherDefault<Fast>> =
            part.iter().copied().collect();
        let fair = (1u16 << Origin::Chance as u16) - 1;
        // The origins that act inside, and those that could act everywhere.
        let (mut acts, mut always) = (0u16, fair);
        let mut inside: Vec<&'static str> = Vec::new();
        for number in part {
            let mut able = 0u16;
            for edge in self.edges(*number) {
                let bit = 1u16 << edge.origin as u16;
                able |= bit;
                if members.contains(&edge.to) {
                    acts |= bit;
                    if !inside.contains(&edge.what) {
                        inside.push(edge.what);
                    }
                }
            }
            always &= able;
        }
        if always & !acts != 0 {
            return Ok(());
        }
        let mut more = vec![format!("and then for ever ({} states):", part.len())];
        more.extend(inside.into_iter().map(|what| format!("  {what}")));
        // The member that is reached soonest.
        let first = part
            .iter()
            .min_by_key(|number| self.from[**number as usize].depth)
            .copied()
            .unwrap_or(NO_PARENT);
        Err(self.failure(Why::NeverSettles, first, more))
    }
}
