//! From the pieces of a text to nodes: which actions are Lima's, and how blocks nest.

use super::scan::{Action, Piece, Token};
use super::{ExpandError, Names};

/// Blocks in blocks. Lima's own templates have two levels.
const DEPTH_LIMIT: usize = 32;

/// The functions of text/template that are evaluated.
pub(super) const FUNCTIONS: [&str; 14] = [
    "and", "eq", "ge", "gt", "index", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println",
];

/// A part of a text.
#[derive(Debug)]
pub(super) enum Node<'t> {
    /// Text that stays.
    Text(&'t str),
    /// The value of a pipeline.
    Output(&'t str, Pipeline<'t>),
    /// `{{$name := …}}` and `{{$name = …}}`.
    Set(&'t str, &'t str, Pipeline<'t>),
    /// `if` and `with`.
    Choice {
        source: &'t str,
        /// `with`: the value becomes the dot.
        sets_dot: bool,
        pipeline: Pipeline<'t>,
        then: Vec<Node<'t>>,
        otherwise: Vec<Node<'t>>,
    },
    /// `range`.
    Loop {
        source: &'t str,
        /// `$key, $value :=` or `$value :=`, as written.
        variables: Vec<&'t str>,
        pipeline: Pipeline<'t>,
        body: Vec<Node<'t>>,
        otherwise: Vec<Node<'t>>,
    },
}

/// `a | f b`: the value of each command is the last argument of the next.
pub(super) type Pipeline<'t> = Vec<Command<'t>>;

/// A function with its arguments, or a single operand.
#[derive(Debug, Clone)]
pub(super) enum Command<'t> {
    Call(&'t str, Vec<Operand<'t>>),
    Value(Operand<'t>),
}

#[derive(Debug, Clone)]
pub(super) enum Operand<'t> {
    Field(&'t str),
    Variable(&'t str, &'t str),
    Text(String),
    Number(i64),
    Bool(bool),
    Nil,
    Nested(Pipeline<'t>),
}

/// What an action says behind its keyword.
struct Clause<'t> {
    variables: Vec<&'t str>,
    pipeline: Pipeline<'t>,
}

/// Builds the nodes of a text. Notes in `names` which parameters the text mentions.
pub(super) fn nodes<'t>(
    pieces: &[Piece<'t>],
    names: &mut Names<'_>,
) -> Result<Vec<Node<'t>>, ExpandError> {
    let evaluated = evaluated(pieces, names)?;
    for (piece, _) in pieces.iter().zip(&evaluated).filter(|(_, ours)| **ours) {
        if let Piece::Action(action) = piece {
            note_params(&action.tokens, names);
        }
    }
    let mut builder = Builder {
        pieces,
        evaluated: &evaluated,
        at: 0,
    };
    let (nodes, _) = builder.block(0)?;
    Ok(nodes)
}

/// `.Param.x`, `$.Param.x` and `index .Param "x"`.
fn note_params(tokens: &[Token<'_>], names: &mut Names<'_>) {
    for (index, token) in tokens.iter().enumerate() {
        let fields = match token {
            Token::Field(fields) | Token::Variable("", fields) => *fields,
            _ => continue,
        };
        if let Some(name) = fields.strip_prefix("Param.") {
            names.used.insert(name.to_owned());
        } else if fields == "Param" {
            match tokens.get(index + 1) {
                Some(Token::Text(name)) => {
                    names.used.insert(name.clone());
                }
                // A loop uses all of them.
                _ => names.used.extend(names.params.keys().cloned()),
            }
        }
    }
}

/// Which actions are evaluated; the others stay as text.
fn evaluated(pieces: &[Piece<'_>], names: &Names<'_>) -> Result<Vec<bool>, ExpandError> {
    struct Frame<'t> {
        opening: Action<'t>,
        index: usize,
        kept: bool,
        dot_is_value: bool,
    }
    let mut ours = vec![false; pieces.len()];
    let mut frames: Vec<Frame<'_>> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let Piece::Action(action) = piece else {
            continue;
        };
        let inside_kept = frames.last().is_some_and(|frame| frame.kept);
        let dot_is_value = frames.iter().any(|frame| frame.dot_is_value);
        let fail = |reason: &str| Err(ExpandError::action(action.source, reason));
        match action.control() {
            None => ours[index] = !inside_kept && is_known(action, dot_is_value, names),
            Some("if" | "with" | "range") => {
                if frames.len() >= DEPTH_LIMIT {
                    return fail("there are too many blocks in blocks");
                }
                let kept = inside_kept || !is_known(action, dot_is_value, names);
                ours[index] = !kept;
                frames.push(Frame {
                    opening: action.clone(),
                    index,
                    kept,
                    dot_is_value: !kept && action.control() != Some("if"),
                });
            }
            Some("else") => match frames.last() {
                Some(frame) => ours[index] = !frame.kept,
                None => return fail("belongs to no block"),
            },
            Some("end") => {
                let Some(frame) = frames.pop() else {
                    return fail("ends no block");
                };
                ours[index] = !frame.kept;
                let outermost = frame.kept && !frames.last().is_some_and(|outer| outer.kept);
                if outermost && !stays_harmless(&pieces[frame.index..=index]) {
                    let reason = reason_unknown(&frame.opening, names);
                    return Err(ExpandError::action(frame.opening.source, reason));
                }
            }
            Some(_) if inside_kept => {}
            Some(word) => return fail(&format!("{word} is not supported")),
        }
    }
    match frames.pop() {
        Some(frame) => Err(ExpandError::action(frame.opening.source, "has no {{end}}")),
        None => Ok(ours),
    }
}

/// Whether a shell takes these pieces for one word or for the arguments of one command.
fn stays_harmless(pieces: &[Piece<'_>]) -> bool {
    pieces.iter().all(|piece| match piece {
        Piece::Text(text) => !text.contains(['\n', ';']),
        Piece::Action(action) => !action.source.contains('\n'),
    })
}

fn reason_unknown(action: &Action<'_>, names: &Names<'_>) -> String {
    let unknown = action.tokens.iter().find_map(|token| match token {
        Token::Field(fields) if !names.knows(root(fields)) => Some(format!(".{fields}")),
        _ => None,
    });
    let words = action.tokens.iter().skip(1).find_map(|token| match token {
        Token::Word(word) if !is_word_known(word) => Some((*word).to_owned()),
        _ => None,
    });
    match (unknown, words) {
        (Some(name), _) => format!("{name} is not known in templates"),
        (None, Some(word)) => format!("the function {word} is not supported"),
        (None, None) => "cannot be read".to_owned(),
    }
}

fn root(fields: &str) -> &str {
    fields.split('.').next().unwrap_or_default()
}

fn is_word_known(word: &str) -> bool {
    FUNCTIONS.contains(&word) || matches!(word, "true" | "false" | "nil")
}

/// Whether an action can be read, and names only what Lima defines.
fn is_known(action: &Action<'_>, dot_is_value: bool, names: &Names<'_>) -> bool {
    let tokens = match action.control() {
        Some(_) => &action.tokens[1..],
        // A comment.
        None if action.tokens.is_empty() => return action.source.contains("/*"),
        None => &action.tokens[..],
    };
    let known = tokens.iter().all(|token| match token {
        Token::Field("") => dot_is_value || names.lenient,
        Token::Field(fields) => dot_is_value || names.knows(root(fields)),
        Token::Variable("", fields) => fields.is_empty() || names.knows(root(fields)),
        Token::Word(word) => is_word_known(word),
        _ => true,
    });
    known && clause(tokens).is_some()
}

/// Reads `$a, $b := pipeline`.
fn clause<'t>(tokens: &[Token<'t>]) -> Option<Clause<'t>> {
    let (variables, rest) = match tokens {
        [Token::Variable(value, ""), Token::Assign, rest @ ..] => (vec![*value], rest),
        [
            Token::Variable(key, ""),
            Token::Comma,
            Token::Variable(value, ""),
            Token::Assign,
            rest @ ..,
        ] => (vec![*key, *value], rest),
        _ => (Vec::new(), tokens),
    };
    let mut reader = TokenReader { rest, depth: 0 };
    let pipeline = reader.pipeline()?;
    reader.rest.is_empty().then_some(Clause {
        variables,
        pipeline,
    })
}

struct TokenReader<'r, 't> {
    rest: &'r [Token<'t>],
    depth: usize,
}

impl<'t> TokenReader<'_, 't> {
    fn pipeline(&mut self) -> Option<Pipeline<'t>> {
        let mut commands = vec![self.command()?];
        while let [Token::Pipe, rest @ ..] = self.rest {
            self.rest = rest;
            commands.push(self.command()?);
        }
        Some(commands)
    }

    fn command(&mut self) -> Option<Command<'t>> {
        if let [Token::Word(word), rest @ ..] = self.rest
            && let Some(function) = FUNCTIONS.iter().find(|known| *known == word)
        {
            self.rest = rest;
            let mut arguments = Vec::new();
            while !matches!(self.rest, [] | [Token::Pipe | Token::Close, ..]) {
                arguments.push(self.operand()?);
            }
            return Some(Command::Call(function, arguments));
        }
        Some(Command::Value(self.operand()?))
    }

    fn operand(&mut self) -> Option<Operand<'t>> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match first {
            Token::Field(fields) => Operand::Field(fields),
            Token::Variable(name, fields) => Operand::Variable(name, fields),
            Token::Text(text) => Operand::Text(text.clone()),
            Token::Number(number) => Operand::Number(*number),
            Token::Word("true") => Operand::Bool(true),
            Token::Word("false") => Operand::Bool(false),
            Token::Word("nil") => Operand::Nil,
            Token::Open if self.depth < DEPTH_LIMIT => {
                self.depth += 1;
                let pipeline = self.pipeline()?;
                self.depth -= 1;
                let [Token::Close, rest @ ..] = self.rest else {
                    return None;
                };
                self.rest = rest;
                Operand::Nested(pipeline)
            }
            _ => return None,
        })
    }
}

/// How a list of nodes ended.
enum End<'t> {
    Text,
    Closed,
    /// `else`, with the tokens behind it.
    Else(&'t str, Vec<Token<'t>>),
}

struct Builder<'p, 't> {
    pieces: &'p [Piece<'t>],
    evaluated: &'p [bool],
    at: usize,
}

impl<'t> Builder<'_, 't> {
    fn trims(&self, index: Option<usize>, right: bool) -> bool {
        let Some(index) = index.filter(|index| self.evaluated.get(*index) == Some(&true)) else {
            return false;
        };
        match &self.pieces[index] {
            Piece::Action(action) if right => action.trim_right,
            Piece::Action(action) => action.trim_left,
            Piece::Text(_) => false,
        }
    }

    fn block(&mut self, depth: usize) -> Result<(Vec<Node<'t>>, End<'t>), ExpandError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at) {
            let index = self.at;
            self.at += 1;
            let action = match piece {
                Piece::Text(text) => {
                    let mut text = *text;
                    if self.trims(index.checked_sub(1), true) {
                        text = text.trim_start();
                    }
                    if self.trims(Some(index + 1), false) {
                        text = text.trim_end();
                    }
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) if !self.evaluated[index] => {
                    nodes.push(Node::Text(action.source));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let source = action.source;
            match action.control() {
                Some("end") => return Ok((nodes, End::Closed)),
                Some("else") => {
                    return Ok((nodes, End::Else(source, action.tokens[1..].to_vec())));
                }
                Some(word) => {
                    let word = word.to_owned();
                    nodes.push(self.opened(source, &word, &action.tokens[1..], depth)?);
                }
                None if action.tokens.is_empty() => {}
                None => match clause(&action.tokens) {
                    Some(Clause {
                        variables,
                        pipeline,
                    }) => nodes.push(match variables[..] {
                        [] => Node::Output(source, pipeline),
                        [name] => Node::Set(source, name, pipeline),
                        _ => return Err(ExpandError::action(source, "sets two variables")),
                    }),
                    None => return Err(ExpandError::action(source, "cannot be read")),
                },
            }
        }
        Ok((nodes, End::Text))
    }

    /// The node of a block whose opening action has been read.
    fn opened(
        &mut self,
        source: &'t str,
        word: &str,
        tokens: &[Token<'t>],
        depth: usize,
    ) -> Result<Node<'t>, ExpandError> {
        let fail = |reason: &str| Err(ExpandError::action(source, reason));
        // `else if` nests without a frame of its own.
        if depth > 2 * DEPTH_LIMIT {
            return fail("there are too many blocks in blocks");
        }
        let Some(Clause {
            variables,
            pipeline,
        }) = clause(tokens)
        else {
            return fail("cannot be read");
        };
        let (then, end) = self.block(depth + 1)?;
        let otherwise = match end {
            End::Closed | End::Text => Vec::new(),
            End::Else(_, tokens) if tokens.is_empty() => match self.block(depth + 1)? {
                (_, End::Else(source, _)) => {
                    return Err(ExpandError::action(
                        source,
                        "is the second {{else}} of its block",
                    ));
                }
                (nodes, _) => nodes,
            },
            End::Else(source, tokens) => match tokens.first() {
                Some(Token::Word(word @ ("if" | "with"))) => {
                    vec![self.opened(source, word, &tokens[1..], depth + 1)?]
                }
                _ => return Err(ExpandError::action(source, "cannot be read")),
            },
        };
        Ok(match word {
            "range" => Node::Loop {
                source,
                variables,
                pipeline,
                body: then,
                otherwise,
            },
            _ if !variables.is_empty() => return fail("sets a variable, which is not supported"),
            _ => Node::Choice {
                source,
                sets_dot: word == "with",
                pipeline,
                then,
                otherwise,
            },
        })
    }
}
