//! A pickle machine that cannot do anything.
//!
//! Values live in an arena and refer to each other by number, so sharing costs nothing however often a value is
//! named (no expansion of nested references), cycles are harmless, and nothing recurses: not running, not reading
//! the result, not dropping it. Opcodes: Python's `pickletools`, protocols 0 to 5, without extensions and buffers.

use std::collections::HashMap;

use super::CheckpointError;
use super::tensor::{DIMENSIONS_MAX, Dtype, StorageRef, TensorView};

/// Longest string that is kept, bytes; names of tensors are far shorter.
const TEXT_BYTES_MAX: usize = 4_096;
/// Longest key of a storage, bytes. Each mention of a storage copies its key, so this must stay small.
const KEY_BYTES_MAX: usize = 64;

/// What is wrong with an operation of a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PickleFault {
    /// The input ends within an operation, or without a stop.
    #[error("the pickle ends too early")]
    Truncated,
    /// An opcode that no checkpoint needs.
    #[error("unknown operation {0:#04x}")]
    UnknownOperation(u8),
    /// It takes more from the stack than is there, or there is no mark.
    #[error("the stack is too short")]
    StackUnderflow,
    /// It reads a memo that was not written.
    #[error("the memo is empty")]
    NoMemo,
    /// More values or references than the limit.
    #[error("too many values")]
    TooManyValues,
    /// An operand that does not parse, or is too long.
    #[error("malformed operand")]
    Operand,
    /// A value of another kind than the operation works on.
    #[error("a value of the wrong kind")]
    Kind,
    /// A tensor or storage description that does not make sense.
    #[error("malformed tensor description")]
    TensorDescription,
}

/// Place of a value in the arena.
type Id = usize;

/// What a class name of the pickle means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    OrderedDict,
    Storage(Dtype),
    RebuildTensor,
    RebuildParameter,
    /// Everything else: calling it gives [`Value::Inert`].
    Unknown,
}

impl Class {
    fn named(module: &str, name: &str) -> Self {
        match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", name) => Dtype::of_storage_class(name).map_or(Self::Unknown, Self::Storage),
            _ => Self::Unknown,
        }
    }
}

#[derive(Debug)]
enum Value {
    Int(i64),
    /// None, a truth value, a float, bytes, a set, an object of an unknown class: nothing that a tensor is made of.
    Inert,
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Class),
    Storage(StorageRef),
    Tensor(TensorView),
}

/// A finished run: the arena and the value on top of the stack at the stop.
#[derive(Debug)]
pub(super) struct Machine {
    values: Vec<Value>,
    result: Id,
}

impl Machine {
    /// Runs a pickle to its stop. `values_max` bounds, each for itself, the values made, the references among them,
    /// the stack, and the memo.
    pub fn run(pickle: &[u8], values_max: usize) -> Result<Self, CheckpointError> {
        let mut run = Run {
            input: pickle,
            at: 0,
            values: Vec::new(),
            references: 0,
            values_max,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            let at = run.at;
            match run.step() {
                Ok(Some(result)) => return Ok(Self { values: run.values, result }),
                Ok(None) => {}
                Err(fault) => return Err(CheckpointError::Pickle { at, fault }),
            }
        }
    }

    /// Names and descriptions of the tensors under `state_dict`, or of the result itself.
    pub fn state_dict(&self) -> Result<Vec<(&str, &TensorView)>, CheckpointError> {
        let Some(Value::Dict(outer)) = self.values.get(self.result) else {
            return Err(CheckpointError::NoTensors);
        };
        let inner = outer.iter().find(|(key, _)| self.text(*key) == Some("state_dict"));
        let entries = match inner.and_then(|(_, value)| self.values.get(*value)) {
            Some(Value::Dict(entries)) => entries,
            _ => outer,
        };
        let named = |(key, value): &(Id, Id)| match self.values.get(*value) {
            Some(Value::Tensor(view)) => self.text(*key).map(|name| (name, view)),
            _ => None,
        };
        let tensors: Vec<_> = entries.iter().filter_map(named).collect();
        if tensors.is_empty() { Err(CheckpointError::NoTensors) } else { Ok(tensors) }
    }

    fn text(&self, id: Id) -> Option<&str> {
        match self.values.get(id) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// A pickle in the middle of its run.
struct Run<'a> {
    input: &'a [u8],
    at: usize,
    values: Vec<Value>,
    references: usize,
    values_max: usize,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

type Step<T> = Result<T, PickleFault>;

impl<'a> Run<'a> {
    /// One operation; `Some` at the stop.
    fn step(&mut self) -> Step<Option<Id>> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => self.mark()?,
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_to_mark()?,
            b'2' => self.push_again(*self.stack.last().ok_or(PickleFault::StackUnderflow)?)?,
            code @ (b'N' | 0x88 | 0x89 | b'I' | b'K' | b'M' | b'J' | b'L' | 0x8a | b'F' | b'G') => {
                self.number(code)?
            }
            code @ (b'X' | 0x8c | 0x8d | b'V' | b'S' | b'T' | b'U') => self.text(code)?,
            code @ (b'B' | b'C' | 0x8e) => self.bytes(code)?,
            code @ (b')' | b't' | 0x85 | 0x86 | 0x87) => self.tuple(code)?,
            code @ (b']' | b'l' | b'a' | b'e') => self.list(code)?,
            code @ (b'}' | b'd' | b's' | b'u') => self.dict(code)?,
            code @ 0x8f..=0x91 => self.set(code)?,
            code @ (b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94) => self.memo(code)?,
            code @ (b'c' | 0x93) => self.class(code)?,
            code @ (b'R' | 0x81 | 0x92) => self.call(code)?,
            b'b' => self.build()?,
            b'Q' => self.storage()?,
            code => return Err(PickleFault::UnknownOperation(code)),
        }
        Ok(None)
    }

    // ---- operands

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(PickleFault::Truncated)?;
        let bytes = self.input.get(self.at..end).ok_or(PickleFault::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> Step<()> {
        self.take(count).map(|_| ())
    }

    fn byte(&mut self) -> Step<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A little-endian unsigned number of `count` ≤ 8 bytes.
    fn unsigned(&mut self, count: usize) -> Step<u64> {
        Ok(self.take(count)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn length(&mut self, count: usize) -> Step<usize> {
        usize::try_from(self.unsigned(count)?).map_err(|_| PickleFault::Truncated)
    }

    /// The text up to the next line break, which is taken too.
    fn line(&mut self) -> Step<&'a str> {
        let rest = self.input.get(self.at..).ok_or(PickleFault::Truncated)?;
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(PickleFault::Truncated)?;
        let line = std::str::from_utf8(self.take(length)?).map_err(|_| PickleFault::Operand)?;
        self.skip(1)?;
        Ok(line)
    }

    // ---- stack

    fn push(&mut self, value: Value) -> Step<()> {
        if self.values.len() >= self.values_max {
            return Err(PickleFault::TooManyValues);
        }
        self.values.push(value);
        self.push_again(self.values.len() - 1)
    }

    /// A value that exists already.
    fn push_again(&mut self, id: Id) -> Step<()> {
        if self.stack.len() >= self.values_max {
            return Err(PickleFault::TooManyValues);
        }
        self.stack.push(id);
        Ok(())
    }

    fn mark(&mut self) -> Step<()> {
        if self.marks.len() >= self.values_max {
            return Err(PickleFault::TooManyValues);
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop(&mut self) -> Step<Id> {
        // A value below the last mark belongs to whatever the mark began.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(PickleFault::StackUnderflow);
        }
        self.stack.pop().ok_or(PickleFault::StackUnderflow)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or(PickleFault::StackUnderflow)?;
        if mark > self.stack.len() {
            return Err(PickleFault::StackUnderflow);
        }
        self.refer(self.stack.len() - mark)?;
        Ok(self.stack.split_off(mark))
    }

    /// Counts references that a container is about to hold.
    fn refer(&mut self, count: usize) -> Step<()> {
        self.references = self.references.saturating_add(count);
        if self.references > self.values_max { Err(PickleFault::TooManyValues) } else { Ok(()) }
    }

    /// The container that the next operation fills: it stays on the stack.
    fn container(&mut self) -> Step<&mut Value> {
        let id = *self.stack.last().ok_or(PickleFault::StackUnderflow)?;
        self.values.get_mut(id).ok_or(PickleFault::StackUnderflow)
    }

    // ---- operations

    fn number(&mut self, code: u8) -> Step<()> {
        let value = match code {
            b'N' | 0x88 | 0x89 => Value::Inert,
            b'K' => Value::Int(self.unsigned(1)? as i64),
            b'M' => Value::Int(self.unsigned(2)? as i64),
            b'J' => Value::Int(i64::from(self.unsigned(4)? as u32 as i32)),
            b'I' => match self.line()? {
                "00" | "01" => Value::Inert, // false, true
                line => Value::Int(line.parse().map_err(|_| PickleFault::Operand)?),
            },
            b'L' => {
                let line = self.line()?;
                let digits = line.strip_suffix('L').unwrap_or(line);
                Value::Int(digits.parse().map_err(|_| PickleFault::Operand)?)
            }
            0x8a => {
                let count = self.length(1)?;
                Value::Int(little_endian(self.take(count)?)?)
            }
            b'F' => {
                self.line()?;
                Value::Inert
            }
            _ => {
                self.skip(8)?;
                Value::Inert
            }
        };
        self.push(value)
    }

    fn text(&mut self, code: u8) -> Step<()> {
        let text = match code {
            b'V' => self.line()?,
            b'S' => self.line()?.trim_matches(['\'', '"']),
            _ => {
                let length = match code {
                    b'U' | 0x8c => self.length(1)?,
                    0x8d => self.length(8)?,
                    _ => self.length(4)?,
                };
                let bytes = self.take(length)?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => text,
                    // Python 2 strings are bytes.
                    Err(_) if matches!(code, b'T' | b'U') => return self.push(Value::Inert),
                    Err(_) => return Err(PickleFault::Operand),
                }
            }
        };
        // Longer ones are texts about the training, which nobody asks for.
        self.push(if text.len() > TEXT_BYTES_MAX { Value::Inert } else { Value::Text(text.to_owned()) })
    }

    fn bytes(&mut self, code: u8) -> Step<()> {
        let length = match code {
            b'C' => self.length(1)?,
            b'B' => self.length(4)?,
            _ => self.length(8)?,
        };
        self.skip(length)?;
        self.push(Value::Inert)
    }

    fn tuple(&mut self, code: u8) -> Step<()> {
        let count = match code {
            b')' => 0,
            b't' => {
                let items = self.pop_to_mark()?;
                return self.push(Value::Tuple(items));
            }
            code => usize::from(code - 0x84),
        };
        self.refer(count)?;
        let mut items = (0..count).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn list(&mut self, code: u8) -> Step<()> {
        let mut items = match code {
            b']' => return self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.pop_to_mark()?;
                return self.push(Value::List(items));
            }
            b'a' => {
                self.refer(1)?;
                vec![self.pop()?]
            }
            _ => self.pop_to_mark()?,
        };
        match self.container()? {
            Value::List(list) => list.append(&mut items),
            Value::Inert => {}
            _ => return Err(PickleFault::Kind),
        }
        Ok(())
    }

    fn dict(&mut self, code: u8) -> Step<()> {
        let items = match code {
            b'}' => return self.push(Value::Dict(Vec::new())),
            b's' => {
                self.refer(2)?;
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        if items.len() % 2 != 0 {
            return Err(PickleFault::StackUnderflow);
        }
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        if code == b'd' {
            let pairs = pairs.collect();
            return self.push(Value::Dict(pairs));
        }
        match self.container()? {
            Value::Dict(dict) => dict.extend(pairs),
            Value::Inert => {}
            _ => return Err(PickleFault::Kind),
        }
        Ok(())
    }

    fn set(&mut self, code: u8) -> Step<()> {
        if code == 0x8f {
            return self.push(Value::Inert);
        }
        self.pop_to_mark()?;
        if code == 0x91 { self.push(Value::Inert) } else { self.container().map(|_| ()) }
    }

    fn memo(&mut self, code: u8) -> Step<()> {
        let key = match code {
            b'g' | b'p' => self.line()?.parse().map_err(|_| PickleFault::Operand)?,
            b'h' | b'q' => self.unsigned(1)?,
            b'j' | b'r' => self.unsigned(4)?,
            _ => self.memo.len() as u64,
        };
        if matches!(code, b'g' | b'h' | b'j') {
            let id = *self.memo.get(&key).ok_or(PickleFault::NoMemo)?;
            return self.push_again(id);
        } else if self.memo.len() >= self.values_max {
            return Err(PickleFault::TooManyValues);
        } else {
            self.memo.insert(key, *self.stack.last().ok_or(PickleFault::StackUnderflow)?);
        }
        Ok(())
    }

    fn class(&mut self, code: u8) -> Step<()> {
        let class = if code == b'c' {
            let module = self.line()?;
            Class::named(module, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.values[module], &self.values[name]) {
                (Value::Text(module), Value::Text(name)) => Class::named(module, name),
                _ => return Err(PickleFault::Kind),
            }
        };
        self.push(Value::Class(class))
    }

    /// A call, or the making of an object: of a known class what it stands for, of any other nothing.
    fn call(&mut self, code: u8) -> Step<()> {
        if code == 0x92 {
            self.pop()?; // keyword arguments
        }
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let Value::Class(class) = self.values[callee] else {
            return match self.values[callee] {
                Value::Inert => self.push(Value::Inert),
                _ => Err(PickleFault::Kind),
            };
        };
        let Value::Tuple(arguments) = &self.values[arguments] else {
            return Err(PickleFault::Kind);
        };
        let value = match class {
            Class::OrderedDict if arguments.is_empty() => Value::Dict(Vec::new()),
            Class::RebuildTensor => Value::Tensor(self.tensor(arguments)?),
            Class::RebuildParameter => match arguments.first().map(|id| &self.values[*id]) {
                Some(Value::Tensor(view)) => Value::Tensor(view.clone()),
                _ => return Err(PickleFault::TensorDescription),
            },
            Class::OrderedDict | Class::Storage(_) | Class::Unknown => Value::Inert,
        };
        self.push(value)
    }

    /// The state of an object: dropped, as attributes of a dictionary or of an unknown object matter to nobody.
    fn build(&mut self) -> Step<()> {
        self.pop()?;
        self.container().map(|_| ())
    }

    /// A persistent id: `("storage", class, key, place, count)`.
    fn storage(&mut self) -> Step<()> {
        let id = self.pop()?;
        let storage = match &self.values[id] {
            Value::Tuple(parts) => self.storage_of(parts),
            _ => None,
        };
        self.push(Value::Storage(storage.ok_or(PickleFault::TensorDescription)?))
    }

    fn storage_of(&self, parts: &[Id]) -> Option<StorageRef> {
        let [kind, class, key, _place, count] = parts else { return None };
        match (&self.values[*kind], &self.values[*class], &self.values[*key], &self.values[*count]) {
            (Value::Text(kind), Value::Class(Class::Storage(dtype)), Value::Text(key), Value::Int(count))
                if kind == "storage" && key.len() <= KEY_BYTES_MAX =>
            {
                Some(StorageRef { key: key.clone(), dtype: *dtype, count: u64::try_from(*count).ok()? })
            }
            _ => None,
        }
    }

    /// Arguments of `_rebuild_tensor_v2`: storage, offset, shape, stride, then things of no interest.
    fn tensor(&self, arguments: &[Id]) -> Step<TensorView> {
        let describe = || {
            let [storage, offset, shape, stride, ..] = arguments else { return None };
            let (Value::Storage(storage), Value::Int(offset)) =
                (&self.values[*storage], &self.values[*offset])
            else {
                return None;
            };
            let (shape, stride) = (self.lengths(*shape)?, self.lengths(*stride)?);
            let offset = u64::try_from(*offset).ok()?;
            (shape.len() == stride.len()).then(|| TensorView {
                storage: storage.clone(),
                offset,
                shape,
                stride,
            })
        };
        describe().ok_or(PickleFault::TensorDescription)
    }

    /// A tuple of at most [`DIMENSIONS_MAX`] numbers, none negative.
    fn lengths(&self, id: Id) -> Option<Vec<u64>> {
        let Value::Tuple(items) = &self.values[id] else { return None };
        if items.len() > DIMENSIONS_MAX {
            return None;
        }
        let number = |id: &Id| match self.values[*id] {
            Value::Int(value) => u64::try_from(value).ok(),
            _ => None,
        };
        items.iter().map(number).collect()
    }
}

/// Two's complement of up to eight bytes; longer numbers are of no use to a tensor.
fn little_endian(bytes: &[u8]) -> Step<i64> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide.get_mut(..bytes.len()).ok_or(PickleFault::Operand)?.copy_from_slice(bytes);
    Ok(i64::from_le_bytes(wide))
}
