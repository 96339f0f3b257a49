//! Showing a plan: `explain()` as text, `mermaid()` as a diagram.

use std::fmt::Write;

use crate::engine::Keep;
use crate::plan::{Plan, PlanEdge, PlanNode};

impl Plan {
    /// The function and the tree below it, as text.
    pub(crate) fn explain(&self, window: Option<&str>) -> String {
        let mut text = self.signature(window.is_some());
        let master = &self.nodes[0];
        let window = window.map(|window| format!(", {window}")).unwrap_or_default();
        let _ = write!(text, "\n{} (master{window}{})", master.stream, master.sorted_back());
        self.explain_below(0, "", &mut text);
        text.push('\n');
        text
    }

    fn signature(&self, windowed: bool) -> String {
        let master = &self.nodes[0].record;
        let first = if windowed { format!("&[{master}]") } else { format!("&{master}") };
        let params: Vec<String> =
            std::iter::once(first).chain(self.params.iter().map(|param| param.text.clone())).collect();
        let returned = self.ports.iter().find(|port| port.param.is_none());
        let arrow = returned.map(|port| format!(" -> {}", port.spec.record)).unwrap_or_default();
        format!("{}({}){arrow}", self.function, params.join(", "))
    }

    fn explain_below(&self, node: usize, indent: &str, text: &mut String) {
        let below: Vec<&PlanEdge> = self.edges.iter().filter(|edge| edge.left == node).collect();
        for (index, edge) in below.iter().enumerate() {
            let last = index + 1 == below.len();
            let branch = if last { "└─ " } else { "├─ " };
            let right = &self.nodes[edge.right];
            let _ =
                write!(text, "\n{indent}{branch}{}: {}{}", right.stream, edge.text(), right.sorted_back());
            let deeper = format!("{indent}{}", if last { "   " } else { "│  " });
            self.explain_below(edge.right, &deeper, text);
        }
    }

    /// The streams, the function and its results as a Mermaid flowchart.
    pub(crate) fn mermaid(&self, window: Option<&str>) -> String {
        let mut text = String::from("flowchart TD\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(text, "    s{index}[(\"{}\")]", quoted(&node.stream));
        }
        for edge in &self.edges {
            let _ = writeln!(text, "    s{} -- \"{}\" --- s{}", edge.left, quoted(&edge.text()), edge.right);
        }
        let label = match window {
            Some(window) => format!("{}<br>{window}", self.function),
            None => self.function.clone(),
        };
        let _ = writeln!(text, "    s0 ==> f[[\"{}\"]]", quoted(&label));
        for (index, port) in self.ports.iter().enumerate() {
            let _ = writeln!(text, "    f ==> r{index}[(\"{}\")]", quoted(&port.spec.record.to_string()));
        }
        text
    }
}

/// Text inside a quoted Mermaid label.
fn quoted(text: &str) -> String {
    text.replace('"', "#quot;")
}

impl PlanNode {
    /// `, sorted back within 5`
    fn sorted_back(&self) -> String {
        if self.within == 0 { String::new() } else { format!(", sorted back within {}", self.within) }
    }
}

impl PlanEdge {
    /// `inner, time + 10 = time and robot = robot`.
    fn text(&self) -> String {
        let spec = &self.spec;
        let mut text =
            format!("{}, {} {} {}", spec.keep, spec.text.left_key, spec.text.matching, spec.text.right_key);
        for also in &spec.text.also {
            let _ = write!(text, " and {also}");
        }
        if spec.text.unique {
            text.push_str(", unique");
        }
        if let Some(silence) = spec.text.on_idle {
            let _ = write!(text, ", or after {silence:?} of silence");
        }
        if self.slot.is_none() && matches!(spec.keep, Keep::Exists | Keep::Unmatched) {
            text.push_str(" (not shown to the function)");
        }
        text
    }
}
