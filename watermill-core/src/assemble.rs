//! From a plan to a lane that can run: sources, sinks and the function are put together here, typed once each.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{AnySink, AnySource, Committer, Position};
use crate::clock::Clock;
use crate::engine::lane::{LaneParts, LaneRun, Port, Settings, Stages, Steering, Work};
use crate::engine::walk::{Limits, Walk, WalkEdge, WalkNode};
use crate::engine::{LetterPort, MakeNode, NodeParts, Silence};
use crate::function::{AnyFunction, Injections, PortSpec};
use crate::letter::DeadLetter;
use crate::plan::Plan;
use crate::policy::OnBad;
use crate::window::OpenWindow;

/// The window of a lane, and the check of its key, a `Box<dyn RoleCheck<M>>`.
pub(crate) type LaneWindow = (OpenWindow, Option<Box<dyn Any + Send>>);

/// What all lanes of a mill share.
pub(crate) struct Assembly {
    pub(crate) plan: Arc<Plan>,
    pub(crate) function: Arc<dyn AnyFunction>,
    pub(crate) injected: Arc<Injections>,
    pub(crate) limits: Limits,
    pub(crate) settings: Arc<Settings>,
    /// How calls are made that do not wait for each other, and how many.
    pub(crate) work: Option<(Work, usize)>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) make_master: MakeNode,
    /// For each node what is done with its bad records.
    pub(crate) on_bad: Vec<OnBad>,
    /// For each result stream what is done with results that cannot be written.
    pub(crate) on_refused: Vec<OnBad>,
    pub(crate) has_letters: bool,
    /// For each node after how much silence it has ended.
    pub(crate) eos_after: Vec<Option<Duration>>,
}

impl Assembly {
    /// One lane; `None` when a source or sink is of another type than the one it was asked for.
    pub(crate) fn lane(
        &self,
        sources: Vec<AnySource>,
        from: &[Option<Position>],
        sinks: Vec<AnySink>,
        committer: Box<dyn Committer>,
        window: Option<LaneWindow>,
        steering: Steering,
    ) -> Option<LaneRun> {
        let plan = &*self.plan;
        let windowed = window.is_some();
        let (window, window_check) = match window {
            Some((window, check)) => (Some(window), check),
            None => (None, None),
        };
        let mut checks = role_checks(plan, window_check);
        let mut idle: Vec<_> = plan.nodes.iter().map(|_| None).collect();
        for edge in &plan.edges {
            if let Some((after, decided, late)) = edge.spec.typed.late() {
                checks[edge.right].push(late);
                idle[edge.right] = Some((after, decided));
            }
        }
        let mut nodes = Vec::with_capacity(plan.nodes.len());
        let mut total = Some(0);
        let function: Arc<str> = Arc::from(plan.function.as_str());
        if sources.len() != plan.nodes.len()
            || sinks.len() != plan.ports.len() + usize::from(self.has_letters)
        {
            return None;
        }
        for (index, (source, checks)) in sources.into_iter().zip(checks).enumerate() {
            let node = &plan.nodes[index];
            let make = match node.parent {
                None => self.make_master,
                Some(edge) => plan.edges[edge].spec.make_node,
            };
            let parts = NodeParts {
                stream: Arc::from(node.stream.as_str()),
                source,
                checks,
                leaving: windowed && index == 0,
                within: node.within,
                on_bad: self.on_bad.get(index).copied().unwrap_or_default(),
                function: Arc::clone(&function),
                clock: Arc::clone(&self.clock),
                from: from.get(index).cloned().flatten(),
            };
            let typed = make(parts)?;
            total = total.zip(typed.size()).map(|(sum, size)| sum + size);
            let silence = Silence::new(idle[index].take(), self.eos_after.get(index).copied().flatten());
            nodes.push(WalkNode::new(typed, node.stream.clone(), node.parent, silence));
        }
        let mut edges = Vec::with_capacity(plan.edges.len());
        for (index, edge) in plan.edges.iter().enumerate() {
            nodes[edge.left].children.push(index);
            let filtered = plan.edges.iter().any(|below| below.left == edge.right);
            edges.push(WalkEdge::new(
                edge.spec.typed.edge(filtered),
                edge.left,
                edge.right,
                edge.spec.keep,
                edge.slot,
            ));
        }
        let stages = Stages {
            function: Arc::clone(&self.function),
            injected: Arc::clone(&self.injected),
            plan: Arc::clone(&self.plan),
        };
        let mut ports = Vec::with_capacity(plan.ports.len());
        let mut sinks = sinks.into_iter();
        for (port, sink) in plan.ports.iter().zip(sinks.by_ref()) {
            ports.push(Port {
                stream: port.spec.record.to_string(),
                param: port.param,
                outlet: (port.spec.outlet)(sink)?,
                ended: false,
                committed: 0,
                on_refused: self.on_refused.get(ports.len()).copied().unwrap_or_default(),
                refused: 0,
            });
        }
        let letters = match sinks.next() {
            Some(sink) => Some(LetterPort::new((PortSpec::of::<DeadLetter>().outlet)(sink)?)),
            None => None,
        };
        let kinds: Vec<_> = plan.params.iter().map(|param| param.kind.clone()).collect();
        steering.publish(|watch| watch.total = total);
        Some(LaneRun::new(LaneParts {
            function: plan.function.clone(),
            windowed,
            walk: Walk::new(nodes, edges, &kinds, window, self.limits),
            stages,
            ports,
            acks: plan.acks(),
            letters,
            committer,
            settings: Arc::clone(&self.settings),
            work: self.work,
            steering,
            clock: Arc::clone(&self.clock),
        }))
    }
}

/// For each stream of the plan the checks of its roles, each a `Box<dyn RoleCheck<R>>`; the master's begin with that of its window.
pub(crate) fn role_checks(plan: &Plan, window: Option<Box<dyn Any + Send>>) -> Vec<Vec<Box<dyn Any + Send>>> {
    let mut checks: Vec<Vec<Box<dyn Any + Send>>> = plan.nodes.iter().map(|_| Vec::new()).collect();
    checks[0].extend(window);
    for edge in &plan.edges {
        checks[edge.right].extend(edge.spec.typed.right_checks());
        checks[edge.left].extend(edge.spec.typed.left_checks());
    }
    checks
}
