//! The plan: from a specification to a checked tree.
//!
//! Everything that can be wrong with a mill is found here, before any data is read: each mistake names the function, the
//! argument and the type, and says what to do.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::{Catalog, InputRequest, Job, OutputRequest};
use crate::engine::Keep;
use crate::error::{BuildError, BuildProblem, Mistake};
use crate::function::{AnyFunction, Injections, ParamKind, ParamSpec, PortSpec};
use crate::join_with::JoinSpec;
use crate::letter::DeadLetter;
use crate::policy::OnBad;
use crate::record::RecordType;

/// A checked join tree.
pub(crate) struct Plan {
    pub(crate) function: String,
    /// Master first, parents before children.
    pub(crate) nodes: Vec<PlanNode>,
    /// The join at index `i` is the one above the node at `i + 1`.
    pub(crate) edges: Vec<PlanEdge>,
    /// For each parameter the names of the streams that its joins read.
    pub(crate) names: Vec<Vec<Option<Arc<str>>>>,
    pub(crate) ports: Vec<PlanPort>,
    pub(crate) params: Vec<ParamSpec>,
}

pub(crate) struct PlanNode {
    pub(crate) record: RecordType,
    pub(crate) name: Option<Arc<str>>,
    /// How messages call the stream.
    pub(crate) stream: String,
    pub(crate) parent: Option<usize>,
    /// How many records late one may be and is sorted back.
    pub(crate) within: usize,
}

pub(crate) struct PlanEdge {
    pub(crate) spec: Arc<JoinSpec>,
    pub(crate) left: usize,
    pub(crate) right: usize,
    /// The parameter that looks at it, and which part of that.
    pub(crate) slot: Option<(usize, usize)>,
}

pub(crate) struct PlanPort {
    pub(crate) spec: PortSpec,
    pub(crate) param: Option<usize>,
}

/// The number of a parameter as people count: the master is 1.
fn number(param: usize) -> usize {
    param + 2
}

impl Plan {
    /// Checks the tree and the function against each other.
    pub(crate) fn new(
        function: &dyn AnyFunction,
        master: RecordType,
        joins: &[Arc<JoinSpec>],
        injected: &Injections,
        has_window: bool,
        mistakes: &[Mistake],
    ) -> Result<Self, BuildError> {
        let mut builder =
            Builder { function: function.name().to_owned(), nodes: Vec::new(), edges: Vec::new() };
        let mut mistakes = mistakes.to_vec();
        joins.iter().for_each(|join| collect_mistakes(join, &mut mistakes));
        if !mistakes.is_empty() {
            let fixes: Vec<&str> = mistakes.iter().map(|mistake| mistake.fix.as_str()).collect();
            let fix = fixes.join("; ");
            return Err(builder.error(BuildProblem::Setting(mistakes), fix));
        }
        builder.check_window(function, master, has_window)?;
        builder.nodes.push(PlanNode {
            record: master,
            name: None,
            stream: master.name().to_owned(),
            parent: None,
            within: 0,
        });
        builder.attach_all(joins)?;
        let params = function.params();
        let names = builder.wire(&params, master, injected, has_window)?;
        let ports = builder.ports(function, &params)?;
        Ok(Self {
            function: builder.function,
            nodes: builder.nodes,
            edges: builder.edges,
            names,
            ports,
            params,
        })
    }

    pub(crate) fn error(&self, problem: BuildProblem, fix: impl Into<String>) -> BuildError {
        BuildError { function: self.function.clone(), problem: Box::new(problem), fix: fix.into() }
    }

    /// The parameters that are `Ack`s.
    pub(crate) fn acks(&self) -> Vec<usize> {
        let acks = self.params.iter().enumerate().filter(|(_, spec)| matches!(spec.kind, ParamKind::Ack(_)));
        acks.map(|(param, _)| param).collect()
    }

    /// Finds every stream in the catalog of a broker. `put_aside` says of which streams records may become dead letters, `on_refused` for each
    /// result stream what is done with results that cannot be written.
    pub(crate) fn job(
        &self,
        catalog: &Catalog,
        broker: &str,
        window: Option<&str>,
        put_aside: &[bool],
        on_refused: &[OnBad],
    ) -> Result<Job, BuildError> {
        let mut inputs = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let mut found = catalog.inputs.iter().enumerate().filter(|(_, input)| {
                input.record == node.record && input.name.as_deref() == node.name.as_deref()
            });
            let Some((input, _)) = found.next() else {
                let call = match &node.name {
                    Some(name) => format!(".read_as::<{}>(\"{name}\", ..)", node.record),
                    None => format!(".read::<{}>(..)", node.record),
                };
                let problem = BuildProblem::NoInput { stream: node.stream.clone() };
                return Err(self.error(problem, format!("declare it: `{broker}{call}`")));
            };
            if found.next().is_some() {
                let problem = BuildProblem::DeclaredTwice { stream: node.stream.clone() };
                return Err(self.error(problem, "declare it once, or give the streams names with `read_as`"));
            }
            let keep_raw = put_aside.get(index).copied().unwrap_or_default();
            inputs.push(InputRequest { input, stream: node.stream.clone(), node: index, keep_raw });
        }
        let mut outputs = Vec::with_capacity(self.ports.len());
        for (port, on_refused) in self.ports.iter().zip(on_refused) {
            let record = port.spec.record;
            let missing = BuildProblem::NoOutput { record: record.to_string() };
            let output = self.output(catalog, broker, record, missing)?;
            let leave_out = *on_refused != OnBad::Fail;
            outputs.push(OutputRequest { output, stream: record.to_string(), letters: false, leave_out });
        }
        let input = inputs.iter().find(|input| input.keep_raw).map(|input| &input.stream);
        let refused = on_refused.iter().position(|policy| *policy == OnBad::DeadLetter);
        if let Some(stream) = input.or_else(|| refused.map(|port| &outputs[port].stream)) {
            let record = RecordType::of::<DeadLetter>();
            let stream = stream.clone();
            if self.ports.iter().any(|port| port.spec.record == record) {
                let fix = "let the function write a record type of its own";
                return Err(self.error(BuildProblem::OwnLetters { stream }, fix));
            }
            let output = self.output(catalog, broker, record, BuildProblem::NoLetters { stream })?;
            let stream = record.to_string();
            outputs.push(OutputRequest { output, stream, letters: true, leave_out: false });
        }
        let streams = self.nodes.iter().map(|node| node.stream.clone()).collect();
        let mill = self.explain(window).split_off(self.function.len());
        let orders = self.orders();
        let function = self.function.clone();
        Ok(Job { function, mill, streams, orders, inputs, outputs, results_elsewhere: false, lot: None })
    }

    /// For each stream the orders that joins ask of it, that of its own join first.
    fn orders(&self) -> Vec<Vec<String>> {
        let mut orders: Vec<Vec<String>> = vec![Vec::new(); self.nodes.len()];
        let each = self.edges.iter().map(|edge| (edge, edge.spec.typed.orders()));
        let (rights, lefts): (Vec<_>, Vec<_>) =
            each.map(|(edge, (left, right))| ((edge.right, right), (edge.left, left))).unzip();
        for (node, order) in rights.into_iter().chain(lefts) {
            let of_node = &mut orders[node];
            of_node.extend(order.filter(|order| !of_node.contains(order)));
        }
        orders
    }

    /// Where in the catalog `record` is written; `missing` when it is not.
    fn output(
        &self,
        catalog: &Catalog,
        broker: &str,
        record: RecordType,
        missing: BuildProblem,
    ) -> Result<usize, BuildError> {
        let mut found = catalog.outputs.iter().enumerate().filter(|(_, output)| output.record == record);
        let Some((output, _)) = found.next() else {
            return Err(self.error(missing, format!("declare it: `{broker}.write::<{record}>(..)`")));
        };
        if found.next().is_some() {
            let problem = BuildProblem::DeclaredTwice { stream: record.to_string() };
            return Err(self.error(problem, "write each result type to one place"));
        }
        Ok(output)
    }
}

/// Adds the mistakes of `join` and of those nested in it.
fn collect_mistakes(join: &JoinSpec, into: &mut Vec<Mistake>) {
    into.extend(join.mistakes.iter().map(|Mistake { problem, fix }| {
        let of = format!("in the join from `{}` to `{}`, {problem}", join.left, join.right);
        Mistake::new(of, fix.as_str())
    }));
    join.children.iter().for_each(|child| collect_mistakes(child, into));
}

struct Builder {
    function: String,
    nodes: Vec<PlanNode>,
    edges: Vec<PlanEdge>,
}

impl Builder {
    fn error(&self, problem: BuildProblem, fix: impl Into<String>) -> BuildError {
        BuildError { function: self.function.clone(), problem: Box::new(problem), fix: fix.into() }
    }

    fn check_window(
        &self,
        function: &dyn AnyFunction,
        master: RecordType,
        has_window: bool,
    ) -> Result<(), BuildError> {
        match (function.windowed(), has_window) {
            (true, false) => Err(self.error(
                BuildProblem::Window {
                    takes: format!("a window, `&[{master}]`"),
                    has: "the mill has no window",
                },
                format!("add `.window(Window::by(..))` or `.window(Window::count(..))`, or take `&{master}`"),
            )),
            (false, true) => Err(self.error(
                BuildProblem::Window {
                    takes: format!("one master, `&{master}`"),
                    has: "the mill has a window",
                },
                format!("take `&[{master}]`, or leave out `.window(..)`"),
            )),
            _ => Ok(()),
        }
    }

    /// Hangs every join below its left stream, whatever order they were declared in.
    fn attach_all(&mut self, joins: &[Arc<JoinSpec>]) -> Result<(), BuildError> {
        let mut waiting: Vec<&Arc<JoinSpec>> = joins.iter().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for join in waiting {
                let lefts: Vec<usize> =
                    (0..self.nodes.len()).filter(|&node| self.nodes[node].record == join.left).collect();
                match lefts.as_slice() {
                    [] => later.push(join),
                    [left] => self.attach(*left, join)?,
                    _ => {
                        let problem = BuildProblem::AmbiguousJoin {
                            left: join.left.to_string(),
                            right: join.right.to_string(),
                        };
                        let fix = format!(
                            "`{}` is read from several streams: nest this join in one of theirs, with `JoinWith::join`",
                            join.left
                        );
                        return Err(self.error(problem, fix));
                    }
                }
            }
            if later.len() == before {
                let join = &later[0];
                let problem =
                    BuildProblem::LooseJoin { left: join.left.to_string(), right: join.right.to_string() };
                let fix = format!("join `{0}` first, or make `{0}` the first parameter", join.left);
                return Err(self.error(problem, fix));
            }
            waiting = later;
        }
        Ok(())
    }

    fn attach(&mut self, left: usize, join: &Arc<JoinSpec>) -> Result<(), BuildError> {
        let same = |edge: &&PlanEdge| {
            edge.spec.right == join.right && edge.spec.from.as_deref() == join.from.as_deref()
        };
        if let Some(twin) = self.edges.iter().find(same) {
            return Err(if twin.left == left {
                let problem = BuildProblem::AmbiguousJoin {
                    left: join.left.to_string(),
                    right: join.right.to_string(),
                };
                let fix = format!(
                    "declare a type of its own for the second, or read `{}` under names with `read_as` and choose with `.from(name)`",
                    join.right
                );
                self.error(problem, fix)
            } else {
                let problem = BuildProblem::Loop { record: join.right.to_string() };
                self.error(
                    problem,
                    "declare a second type for the same data: each place in the tree has its own",
                )
            });
        }
        if self.nodes[0].record == join.right && join.from.is_none() {
            let problem = BuildProblem::Loop { record: join.right.to_string() };
            return Err(self
                .error(problem, "declare a second type for the same data: a self-join needs its own type"));
        }
        let right = self.nodes.len();
        let stream = match &join.from {
            Some(name) => format!("{} \"{name}\"", join.right),
            None => join.right.name().to_owned(),
        };
        self.nodes.push(PlanNode {
            record: join.right,
            name: join.from.clone(),
            stream,
            parent: Some(self.edges.len()),
            within: 0,
        });
        self.edges.push(PlanEdge { spec: Arc::clone(join), left, right, slot: None });
        for child in &join.children {
            self.attach(right, child)?;
        }
        Ok(())
    }

    /// Gives every argument what it asks for.
    fn wire(
        &mut self,
        params: &[ParamSpec],
        master: RecordType,
        injected: &Injections,
        has_window: bool,
    ) -> Result<Vec<Vec<Option<Arc<str>>>>, BuildError> {
        let mut names = Vec::with_capacity(params.len());
        for (param, spec) in params.iter().enumerate() {
            let mut parts = Vec::new();
            match &spec.kind {
                ParamKind::Joined { left, right } => {
                    for edge in &mut self.edges {
                        if edge.spec.left == *left && edge.spec.right == *right {
                            if edge.slot.is_some() {
                                return Err(self.twice(param, spec));
                            }
                            edge.slot = Some((param, parts.len()));
                            parts.push(edge.spec.from.clone());
                        }
                    }
                    if parts.is_empty() {
                        let problem = BuildProblem::NoJoin {
                            number: number(param),
                            argument: spec.text.clone(),
                            left: left.to_string(),
                            right: right.to_string(),
                        };
                        let fix =
                            format!("add `.join(JoinWith::new({left}::fields().., {right}::fields()..))`");
                        return Err(self.error(problem, fix));
                    }
                }
                ParamKind::Inject { id } if !injected.has(*id) => {
                    let problem =
                        BuildProblem::NotInjected { number: number(param), argument: spec.text.clone() };
                    return Err(self.error(problem, "give it one: `.inject(value)`"));
                }
                ParamKind::Meta { master: of } if *of != master => {
                    let problem = BuildProblem::MetaOfOther {
                        number: number(param),
                        argument: spec.text.clone(),
                        master: master.to_string(),
                    };
                    return Err(self.error(problem, format!("take `&Meta<{master}>`")));
                }
                ParamKind::WindowInfo if !has_window => {
                    let takes = format!("`{}` as argument {}", spec.text, number(param));
                    let problem = BuildProblem::Window { takes, has: "the mill has no window" };
                    let fix = format!("take `&[{master}]` and add `.window(..)`, or leave the argument out");
                    return Err(self.error(problem, fix));
                }
                ParamKind::Inject { .. }
                | ParamKind::Meta { .. }
                | ParamKind::Out(_)
                | ParamKind::Ack(_)
                | ParamKind::WindowInfo => {}
            }
            names.push(parts);
        }
        for edge in &self.edges {
            if edge.slot.is_none() && matches!(edge.spec.keep, Keep::Inner | Keep::Left) {
                let (left, right) = (edge.spec.left.to_string(), edge.spec.right.to_string());
                let keep = if edge.spec.keep == Keep::Inner { "inner" } else { "left" };
                let fix = match edge.spec.keep {
                    Keep::Inner => format!(
                        "take an argument `&Joined<{left}, {right}>`, or add `.exists()` if only the match matters"
                    ),
                    _ => format!("take an argument `&Joined<{left}, {right}>`, or leave the join out"),
                };
                return Err(self.error(BuildProblem::UnusedJoin { keep, left, right }, fix));
            }
        }
        Ok(names)
    }

    fn twice(&self, param: usize, spec: &ParamSpec) -> BuildError {
        let problem = BuildProblem::ArgumentTwice { number: number(param), argument: spec.text.clone() };
        self.error(problem, "leave one of them out")
    }

    /// The result streams: what is returned first, then the `Out`s and `Ack`s.
    fn ports(&self, function: &dyn AnyFunction, params: &[ParamSpec]) -> Result<Vec<PlanPort>, BuildError> {
        let mut ports: Vec<PlanPort> =
            function.returns().map(|spec| PlanPort { spec, param: None }).into_iter().collect();
        let mut seen: HashMap<_, ()> = ports.iter().map(|port| (port.spec.record, ())).collect();
        for (param, spec) in params.iter().enumerate() {
            if let ParamKind::Out(port) | ParamKind::Ack(port) = &spec.kind {
                if seen.insert(port.record, ()).is_some() {
                    return Err(self.twice(param, spec));
                }
                ports.push(PlanPort { spec: *port, param: Some(param) });
            }
        }
        Ok(ports)
    }
}
