//! A job's graph as text that other programs draw.

use std::fmt::Write;

use crate::Job;
use crate::config::is_unsafe;

impl Job {
    /// The graph as a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        // Text in quotes is taken for HTML.
        let quote = |label: &str| {
            label
                .replace('"', "#quot;")
                .replace('<', "#lt;")
                .replace('>', "#gt;")
                .replace('\n', "<br/>")
        };
        let mut text = String::from("flowchart LR\n");
        for index in 0..self.graph.stages.len() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    s{index}[\"{}\"]", quote(&self.label(index)));
        }
        self.each_edge(|from, to, label| {
            let _ = writeln!(text, "    s{from} -->|\"{}\"| s{to}", quote(label));
        });
        text
    }

    /// The graph in the language of Graphviz.
    pub fn dot(&self) -> String {
        let quote = |label: &str| {
            label
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
                // The name of a job may hold anything, and graphs are looked at on terminals, too.
                .replace(is_unsafe, "\u{fffd}")
        };
        let mut text = format!(
            "digraph \"{}\" {{\n    rankdir=LR;\n    node [shape=box];\n",
            quote(&self.name)
        );
        for index in 0..self.graph.stages.len() {
            let _ = writeln!(
                text,
                "    s{index} [label=\"{}\"];",
                quote(&self.label(index))
            );
        }
        self.each_edge(|from, to, label| {
            let _ = writeln!(text, "    s{from} -> s{to} [label=\"{}\"];", quote(label));
        });
        text.push_str("}\n");
        text
    }

    /// A stage's name and, where it is another, its kind below.
    fn label(&self, index: usize) -> String {
        let stage = &self.graph.stages[index];
        if stage.name == stage.kind {
            stage.name.clone()
        } else {
            format!("{}\n{}", stage.name, stage.kind)
        }
    }

    fn each_edge(&self, mut draw: impl FnMut(usize, usize, &str)) {
        for (to, stage) in self.graph.stages.iter().enumerate() {
            for (input, feeds) in stage.declaration.inputs.iter().zip(&stage.feeds) {
                for feed in feeds {
                    draw(feed.stage, to, input.accepts[0].name);
                }
            }
        }
    }
}
