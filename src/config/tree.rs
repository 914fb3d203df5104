//! A YAML text as a tree in which every key and value knows its line and column, and no duplicate key is lost.

use std::{collections::HashMap, fmt};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

/// More nodes than any configuration has; ends the growth of aliases to aliases.
const MOST_NODES: usize = 100_000;
/// Deeper than any configuration is; keeps the recursion off the end of the stack.
const DEEPEST: usize = 64;

/// A place in a text; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Location {
    /// The line.
    pub(super) line: usize,
    /// The column.
    pub(super) column: usize,
}

impl Location {
    /// The very beginning, for what concerns the whole file.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: Location,
    /// What it is.
    pub(super) value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A scalar; plain if it stands without quotes, so that its form decides its type.
    Scalar {
        /// The text.
        text: String,
        /// Whether its form decides its type.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values as they are written, duplicates included.
    Mapping(Vec<(Node, Node)>),
    /// A node with a tag other than `!!str`, `!!seq` and `!!map`, which nothing here needs.
    Tagged,
}

/// Why a text is no YAML document. Never holds a piece of the text: a password may stand anywhere in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct SyntaxError {
    /// Where it was noticed.
    pub(super) at: Location,
    /// What was noticed, in fixed words.
    pub(super) reason: String,
}

/// Parses a text of exactly one document; `None` for an empty one.
///
/// # Errors
/// The first thing that is not YAML, a second document, or aliases that grow without bound.
pub(super) fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, depth: 0 }.document()
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, SyntaxError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if root.is_some() => {
                    return Err(SyntaxError { at: location(span), reason: "a second document begins here".into() });
                }
                event => root = Some(self.node(event, span)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(SyntaxError {
                at: Location { line: error.marker().line(), column: error.marker().col() + 1 },
                reason: fixed_words(error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, SyntaxError> {
        let at = location(span);
        let before = self.nodes;
        self.grow(1, at)?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(SyntaxError { at, reason: format!("values are nested more than {DEEPEST} deep") });
        }
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(SyntaxError { at, reason: "an alias refers to the value that holds it".into() });
                };
                self.grow(size, at)?;
                self.depth -= 1;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = match tag.as_deref() {
                    None => Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain },
                    Some(tag) if is_core(tag, "str") => Value::Scalar { text: text.into_owned(), plain: false },
                    Some(_) => Value::Tagged,
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span)?),
                    }
                }
                let fits = tag.as_deref().is_none_or(|tag| is_core(tag, "seq"));
                (if fits { Value::List(items) } else { Value::Tagged }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                let mut entries = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, _) => break,
                        (event, span) => {
                            let key = self.node(event, span)?;
                            let (event, span) = self.next()?;
                            entries.push((key, self.node(event, span)?));
                        }
                    }
                }
                let fits = tag.as_deref().is_none_or(|tag| is_core(tag, "map"));
                (if fits { Value::Mapping(entries) } else { Value::Tagged }, anchor)
            }
            _ => return Err(SyntaxError { at, reason: "the document ends where a value is expected".into() }),
        };
        self.depth -= 1;
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn grow(&mut self, by: usize, at: Location) -> Result<(), SyntaxError> {
        self.nodes += by;
        if self.nodes > MOST_NODES {
            return Err(SyntaxError { at, reason: format!("the document has more than {MOST_NODES} values") });
        }
        Ok(())
    }
}

fn location(span: Span) -> Location {
    Location { line: span.start.line(), column: span.start.col() + 1 }
}

fn is_core(tag: &Tag, suffix: &str) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == suffix
}

/// The parser's words without what it quotes from the text: where its message is not a fixed one, a fixed one.
fn fixed_words(info: &str) -> String {
    if info.starts_with("unexpected character") {
        "a value cannot begin with this character unless it is quoted".into()
    } else {
        info.replace('\'', "`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_place() {
        let root = parse("a:\n  b: [x, \"1\"]\n").unwrap().unwrap();
        let Value::Mapping(outer) = root.value else { panic!("a mapping") };
        let Value::Mapping(inner) = &outer[0].1.value else { panic!("a mapping") };
        assert_eq!(inner[0].0.at, Location { line: 2, column: 3 });
        let Value::List(items) = &inner[0].1.value else { panic!("a list") };
        assert_eq!(items[1].at, Location { line: 2, column: 10 });
        assert!(matches!(&items[0].value, Value::Scalar { plain: true, .. }));
        assert!(matches!(&items[1].value, Value::Scalar { plain: false, .. }));
    }

    #[test]
    fn an_alias_is_its_anchor() {
        let root = parse("a: &x {k: v}\nb: *x\n").unwrap().unwrap();
        let Value::Mapping(entries) = root.value else { panic!("a mapping") };
        assert!(matches!(&entries[1].1.value, Value::Mapping(inner) if inner.len() == 1));
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let line = |n: usize| {
            let item = if n == 0 { "x".to_owned() } else { format!("*a{}", n - 1) };
            format!("a{n}: &a{n} [{}]\n", vec![item; 10].join(","))
        };
        let text: String = (0..10).map(line).collect();
        assert!(parse(&text).unwrap_err().reason.contains("more than 100000 values"));
        assert!(parse("a: &a [*a]").is_err());
    }

    #[test]
    fn nesting_has_an_end() {
        assert!(parse(&"[".repeat(50_000)).is_err());
        assert!(parse(&"- ".repeat(50_000)).is_err());
        assert!(parse(&format!("{}{}", "[".repeat(60), "]".repeat(60))).is_ok());
    }

    #[test]
    fn what_is_no_single_document_is_refused_with_its_place() {
        for (text, line) in [("a: [", 2), ("a: b\n---\nc: d\n", 3), ("a: *none\n", 1), ("a: b: c\n", 1)] {
            assert_eq!(parse(text).unwrap_err().at.line, line, "{text}");
        }
        assert!(parse("").unwrap().is_none());
        assert!(parse("# only a comment\n").unwrap().is_none());
    }

    #[test]
    fn the_words_of_an_error_quote_nothing() {
        let error = parse("password: @hunter2\n").unwrap_err();
        assert_eq!(error.reason, "a value cannot begin with this character unless it is quoted");
    }
}
