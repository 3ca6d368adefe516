//! The checkpoint reader against well-formed and hostile files.

mod support;

use proptest::prelude::*;
use provision::archive::ArchiveError;
use provision::checkpoint::{CheckpointError, Dtype, Limits, PickleFault, StateDict};
use support::{Pickle, checkpoint, one, state_dict, zip_of};

/// Small, so that reaching past them is cheap.
const LIMITS: Limits =
    Limits { pickle_bytes_max: 4_096, values_max: 512, storage_bytes_max: 4_096, tensor_bytes_max: 4_096 };
/// What the largest of the mutated files below may make the reader allocate at once: tensors, pickle values with the
/// keys and shapes in them, stack and memo, and the archive's directory.
const ALLOCATED_MAX: usize = 4_096 + 512 * 400 + 512 * 64 + 16_384;

fn read(file: &[u8]) -> Result<StateDict, CheckpointError> {
    StateDict::read(file, &LIMITS)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn fault(pickle: &[u8]) -> PickleFault {
    match read(&checkpoint(pickle, &[])) {
        Err(CheckpointError::Pickle { fault, .. }) => fault,
        other => panic!("the pickle should be refused: {other:?}"),
    }
}

fn bound(pickle: &[u8], storage: &[u8]) -> &'static str {
    match read(&checkpoint(pickle, &[("0", storage)])) {
        Err(CheckpointError::OutOfBounds { what, .. }) => what,
        other => panic!("the tensor should be refused: {other:?}"),
    }
}

const SIX: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn views_of_a_storage_become_tensors() {
    let values = |offset, shape: &[i64], stride: &[i64]| {
        let pickle = one(("FloatStorage", "0", 6), offset, shape, stride);
        let weights = read(&checkpoint(&pickle, &[("0", &floats(&SIX))])).unwrap();
        let shape: Vec<usize> = shape.iter().map(|dim| *dim as usize).collect();
        weights.f32s("t", &shape).unwrap()
    };
    assert_eq!(values(0, &[2, 3], &[3, 1]), SIX, "contiguous");
    assert_eq!(values(0, &[3, 2], &[1, 3]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0], "transposed");
    assert_eq!(values(1, &[2, 2], &[3, 1]), [1.0, 2.0, 4.0, 5.0], "a corner");
    assert_eq!(values(4, &[3], &[0]), [4.0; 3], "repeated");
    assert_eq!(values(5, &[], &[]), [5.0], "a scalar");
    assert_eq!(values(6, &[0, 3], &[3, 1]), [0.0; 0], "empty, at the end");
    assert_eq!(values(2, &[1, 2], &[i64::MAX, 1]), [2.0, 3.0], "a dimension of one may have any stride");
}

#[test]
fn a_training_checkpoint_gives_its_weights_only() {
    // Classes of the training code, their states, nested dictionaries, lists, floats, a parameter: all inert.
    let pickle = Pickle::new()
        .raw(b"}(")
        .text("hyper")
        .class("some.module", "Problem")
        .raw(b"K\x01\x85R")
        .text("spec")
        .class("some.module", "Specifications")
        .raw(b")\x81}")
        .text("duration")
        .raw(b"G\x40\x24\0\0\0\0\0\0sb")
        .text("losses")
        .raw(b"]q\x05(K\x01NF1.5\nh\x05e")
        .text("state_dict")
        .class("collections", "OrderedDict")
        .raw(b")R(")
        .text("plain")
        .tensor(("FloatStorage", "0", 6), 0, &[6], &[1])
        .text("parameter")
        .class("torch._utils", "_rebuild_parameter")
        .raw(b"(")
        .tensor(("FloatStorage", "0", 6), 4, &[2], &[1])
        .raw(b"\x88}tR")
        .text("epoch")
        .int(7)
        .raw(b"uu")
        .stop();
    let weights = read(&checkpoint(&pickle, &[("0", &floats(&SIX))])).unwrap();
    assert_eq!(weights.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["parameter", "plain"]);
    assert_eq!(weights.f32s("parameter", &[2]).unwrap(), [4.0, 5.0]);
}

#[test]
fn nothing_is_called() {
    // The classic: `os.system("…")` on loading. It becomes an inert value beside the tensor.
    let pickle = Pickle::new()
        .raw(b"}(")
        .text("payload")
        .class("os", "system")
        .text("touch /nonexistent/never")
        .raw(b"\x85R")
        .text("t")
        .tensor(("FloatStorage", "0", 6), 0, &[6], &[1])
        .raw(b"u")
        .stop();
    let weights = read(&checkpoint(&pickle, &[("0", &floats(&SIX))])).unwrap();
    assert_eq!(weights.iter().count(), 1);
}

#[test]
fn weights_of_another_network_are_named() {
    let weights = read(&state_dict(&[("a", &[2, 3], SIX.to_vec())])).unwrap();
    assert_eq!(weights.f32s("b", &[1]), Err(CheckpointError::Missing { tensor: "b".into() }));
    let unfit = weights.f32s("a", &[3, 2]).unwrap_err();
    assert_eq!(unfit.to_string(), "tensor `a` is F32 [2, 3], not F32 [3, 2]");
    let pickle = one(("LongStorage", "0", 3), 0, &[3], &[1]);
    let weights = read(&checkpoint(&pickle, &[("0", &[0; 24])])).unwrap();
    let unfit = weights.f32s("t", &[3]).unwrap_err();
    assert_eq!(unfit.to_string(), "tensor `t` is I64 [3], not F32 [3]");
}

#[test]
fn every_dtype_has_its_size() {
    let classes = [
        ("DoubleStorage", Dtype::F64, 8),
        ("FloatStorage", Dtype::F32, 4),
        ("HalfStorage", Dtype::F16, 2),
        ("LongStorage", Dtype::I64, 8),
        ("IntStorage", Dtype::I32, 4),
        ("ShortStorage", Dtype::I16, 2),
        ("CharStorage", Dtype::I8, 1),
        ("ByteStorage", Dtype::U8, 1),
        ("BoolStorage", Dtype::Bool, 1),
    ];
    for (class, dtype, bytes) in classes {
        let pickle = one((class, "0", 2), 0, &[2], &[1]);
        let storage: Vec<u8> = (0..2 * bytes as u8).collect();
        let weights = read(&checkpoint(&pickle, &[("0", &storage)])).unwrap();
        let (_, tensor) = weights.iter().next().unwrap();
        assert_eq!((tensor.dtype, &tensor.data), (dtype, &storage), "{class}");
    }
    assert_eq!(fault(&one(("ComplexFloatStorage", "0", 2), 0, &[2], &[1])), PickleFault::TensorDescription);
}

#[test]
fn tensors_stay_inside_their_storage() {
    let storage = floats(&SIX);
    let refused = |offset, shape: &[i64], stride: &[i64]| {
        bound(&one(("FloatStorage", "0", 6), offset, shape, stride), &storage)
    };
    let past_end = "it reaches past the end of its storage";
    assert_eq!(refused(1, &[6], &[1]), past_end, "offset one too far");
    assert_eq!(refused(0, &[7], &[1]), past_end, "one element too many");
    assert_eq!(refused(0, &[2, 3], &[4, 1]), past_end, "stride too long");
    assert_eq!(refused(6, &[], &[]), past_end, "scalar behind the end");
    assert_eq!(refused(i64::MAX, &[1], &[1]), past_end, "offset far out");
    assert_eq!(refused(0, &[2, 2, 2], &[i64::MAX, i64::MAX, i64::MAX]), "its strides overflow");
    assert_eq!(refused(0, &[i64::MAX, i64::MAX], &[0, 0]), "its size overflows");
}

#[test]
fn a_small_storage_does_not_become_a_huge_tensor() {
    let storage = floats(&SIX);
    let shown = |count| one(("FloatStorage", "0", 6), 0, &[count], &[0]);
    let weights = read(&checkpoint(&shown(1_024), &[("0", &storage)])).unwrap();
    assert_eq!(weights.f32s("t", &[1_024]).unwrap().len(), 1_024, "4,096 bytes: at the bound");
    assert_eq!(bound(&shown(1_025), &storage), "it is larger than accepted");
    assert_eq!(bound(&shown(1 << 60), &storage), "it is larger than accepted");

    // The bound holds for all tensors together.
    let twice = Pickle::new()
        .raw(b"}(")
        .text("a")
        .tensor(("FloatStorage", "0", 6), 0, &[1_000], &[0])
        .text("b")
        .tensor(("FloatStorage", "0", 6), 0, &[25], &[0])
        .raw(b"u")
        .stop();
    assert_eq!(bound(&twice, &storage), "it is larger than accepted");
}

#[test]
fn storages_have_the_stated_size() {
    let wrong = "its storage does not have the stated size";
    assert_eq!(bound(&one(("FloatStorage", "0", 7), 0, &[6], &[1]), &floats(&SIX)), wrong);
    assert_eq!(bound(&one(("DoubleStorage", "0", 6), 0, &[6], &[1]), &floats(&SIX)), wrong, "wrong dtype");
    assert_eq!(bound(&one(("FloatStorage", "0", i64::MAX), 0, &[6], &[1]), &floats(&SIX)), wrong);
    let missing = read(&checkpoint(&one(("FloatStorage", "1", 6), 0, &[6], &[1]), &[("0", &floats(&SIX))]));
    let name = "archive/data/1".to_owned();
    assert_eq!(missing, Err(CheckpointError::Archive(ArchiveError::Missing { name })));
    let big = vec![0; 4_100];
    let refused = read(&checkpoint(&one(("ByteStorage", "0", 4_100), 0, &[1], &[1]), &[("0", &big)]));
    assert!(matches!(refused, Err(CheckpointError::Archive(ArchiveError::TooLarge { .. }))), "{refused:?}");
}

#[test]
fn tensor_descriptions_are_checked() {
    let malformed = |offset, shape: &[i64], stride: &[i64]| {
        assert_eq!(
            fault(&one(("FloatStorage", "0", 6), offset, shape, stride)),
            PickleFault::TensorDescription
        );
    };
    malformed(-1, &[6], &[1]);
    malformed(0, &[-6], &[1]);
    malformed(0, &[6], &[-1]);
    malformed(0, &[6], &[1, 1]);
    malformed(0, &[1; 9], &[1; 9]);
    let storage = floats(&SIX);
    let most = one(("FloatStorage", "0", 6), 0, &[1; 8], &[1; 8]);
    assert!(read(&checkpoint(&most, &[("0", &storage)])).is_ok(), "eight dimensions: at the bound");
    assert_eq!(fault(&one(("FloatStorage", "0", -1), 0, &[], &[])), PickleFault::TensorDescription);
    let key = "k".repeat(65);
    assert_eq!(fault(&one(("FloatStorage", &key, 6), 0, &[], &[])), PickleFault::TensorDescription);
}

#[test]
fn billions_of_laughs_cost_nothing() {
    // Each level is a tuple of ten references to the one before: 10^40 leaves if anybody expanded it.
    let mut pickle = Pickle::new().raw(b"}").text("lol").text("ha").raw(b"q\x00");
    for level in 0..40u8 {
        pickle = pickle.raw(b"0(");
        for _ in 0..10 {
            pickle = pickle.raw(&[b'h', level]);
        }
        pickle = pickle.raw(&[b't', b'q', level + 1]);
    }
    let pickle = pickle.raw(b"s").text("t").tensor(("FloatStorage", "0", 6), 0, &[6], &[1]).raw(b"s").stop();
    let file = checkpoint(&pickle, &[("0", &floats(&SIX))]);
    assert_eq!(read(&file).unwrap().iter().count(), 1);
}

#[test]
fn copied_references_are_counted() {
    // A dictionary that contains itself is harmless; doubling a list again and again is not.
    let own = Pickle::new().raw(b"}q\x00").text("me").raw(b"h\x00s").stop();
    assert_eq!(read(&checkpoint(&own, &[])), Err(CheckpointError::NoTensors));
    let refer = Pickle::new().raw(b"(").raw(&[b'N'; 200]).raw(b"t0(").raw(&[b'N'; 200]).raw(b"t0(");
    assert_eq!(fault(&refer.raw(&[b'N'; 113]).raw(b"t.").0), PickleFault::TooManyValues);
}

#[test]
fn values_stack_memo_and_marks_are_bounded() {
    let none = |count| Pickle::new().raw(&vec![b'N'; count]).stop();
    assert_eq!(read(&checkpoint(&none(512), &[])), Err(CheckpointError::NoTensors), "at the bound");
    assert_eq!(fault(&none(513)), PickleFault::TooManyValues);
    let same = |code: &[u8], count| Pickle::new().raw(b"N").raw(&code.repeat(count)).stop();
    assert_eq!(fault(&same(b"2", 512)), PickleFault::TooManyValues, "stack");
    assert_eq!(fault(&same(b"\x94", 513)), PickleFault::TooManyValues, "memo");
    assert_eq!(fault(&same(b"(", 513)), PickleFault::TooManyValues, "marks");
}

#[test]
fn deep_nesting_needs_no_stack() {
    let limits = Limits { pickle_bytes_max: 1 << 22, values_max: 1 << 20, ..LIMITS };
    let deep = Pickle::new().raw(b"}").text("deep").raw(b")").raw(&vec![0x85; 500_000]).raw(b"s").stop();
    let refused = StateDict::read(&checkpoint(&deep, &[]), &limits);
    assert_eq!(refused, Err(CheckpointError::NoTensors));
}

#[test]
fn operations_take_only_what_is_there() {
    for code in b"012.abdelpqrstuRQ\x81\x85\x86\x87\x90\x91\x92\x93\x94" {
        let pickle = [0x80, 2, *code, b'0', b'\n'];
        assert!(
            matches!(
                fault(&pickle),
                PickleFault::StackUnderflow | PickleFault::Operand | PickleFault::Truncated
            ),
            "{:?}",
            char::from(*code)
        );
    }
    assert_eq!(fault(b"\x80\x02N(0."), PickleFault::StackUnderflow, "a mark keeps what is below it");
    assert_eq!(fault(b"\x80\x02h\x07."), PickleFault::NoMemo);
    assert_eq!(fault(b"\x80\x02})R."), PickleFault::Kind, "a dictionary cannot be called");
    for code in [b'P', b'o', b'i', 0x82, 0x83, 0x84, 0x96, 0x97, 0x98, 0xff] {
        assert_eq!(fault(&[0x80, 2, code]), PickleFault::UnknownOperation(code));
    }
}

#[test]
fn operands_are_bounded() {
    assert_eq!(fault(b"\x80\x02X\xff\xff\xff\xffabc."), PickleFault::Truncated);
    assert_eq!(fault(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc."), PickleFault::Truncated);
    assert_eq!(fault(b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc."), PickleFault::Truncated);
    assert_eq!(fault(b"\x80\x02X\x01\0\0\0\xff."), PickleFault::Operand, "not UTF-8");
    assert_eq!(fault(b"\x80\x02\x8a\x09123456789."), PickleFault::Operand, "a number of nine bytes");
    assert_eq!(fault(b"\x80\x02Ix\n."), PickleFault::Operand);
    assert_eq!(fault(b"\x80\x02cmodule"), PickleFault::Truncated, "no line break");
}

#[test]
fn every_cut_is_noticed() {
    let file = state_dict(&[("a", &[6], SIX.to_vec())]);
    assert!(read(&file).is_ok());
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "{length} of {} bytes", file.len());
    }
    let pickle = one(("FloatStorage", "0", 6), 0, &[6], &[1]);
    for length in 0..pickle.len() {
        assert!(read(&checkpoint(&pickle[..length], &[("0", &floats(&SIX))])).is_err(), "{length}");
    }
}

#[test]
fn the_archive_holds_one_pickle_of_bounded_size() {
    assert_eq!(read(&zip_of(&[("archive/version", b"3")])), Err(CheckpointError::NoPickle { count: 0 }));
    let two = zip_of(&[("a/data.pkl", b"N."), ("b/data.pkl", b"N.")]);
    assert_eq!(read(&two), Err(CheckpointError::NoPickle { count: 2 }));
    let twice = zip_of(&[("a/data.pkl", b"N."), ("a/data.pkl", b"}.")]);
    let name = "a/data.pkl".to_owned();
    assert_eq!(read(&twice), Err(CheckpointError::Archive(ArchiveError::Duplicate { name })));
    let big = read(&checkpoint(&[b'N'; 4_097], &[]));
    assert!(matches!(big, Err(CheckpointError::Archive(ArchiveError::TooLarge { bytes: 4_097, .. }))));
    let order = zip_of(&[("a/data.pkl", b"N."), ("a/byteorder", b"big")]);
    assert_eq!(read(&order), Err(CheckpointError::ByteOrder));
    let two_names = Pickle::new()
        .raw(b"}(")
        .text("t")
        .tensor(("FloatStorage", "0", 6), 0, &[6], &[1])
        .text("t")
        .tensor(("FloatStorage", "0", 6), 0, &[5], &[1])
        .raw(b"u")
        .stop();
    let refused = read(&checkpoint(&two_names, &[("0", &floats(&SIX))]));
    assert_eq!(refused, Err(CheckpointError::Duplicate { tensor: "t".into() }));
}

#[test]
fn compressed_checkpoints_are_refused() {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    writer.start_file("archive/data.pkl", options).unwrap();
    writer.write_all(&vec![b'N'; 1 << 20]).unwrap();
    let file = writer.finish().unwrap().into_inner();
    let refused = read(&file);
    assert!(
        matches!(refused, Err(CheckpointError::Archive(ArchiveError::Unsupported { .. }))),
        "{refused:?}"
    );
}

/// A well-formed checkpoint whose bytes the properties below change.
fn specimen() -> Vec<u8> {
    let pickle = Pickle::new()
        .raw(b"}(")
        .text("one")
        .tensor(("FloatStorage", "0", 6), 0, &[2, 3], &[3, 1])
        .text("inert")
        .class("some.module", "Class")
        .raw(b")\x81}b")
        .text("list")
        .raw(b"]q\x01(K\x01K\x02e")
        .text("two")
        .tensor(("DoubleStorage", "1", 3), 1, &[2], &[1])
        .text("again")
        .raw(b"h\x01u")
        .stop();
    checkpoint(&pickle, &[("0", &floats(&SIX)), ("1", &[0; 24])])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_checkpoints_neither_panic_nor_allocate_much(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = specimen();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        check_allocation(&file)?;
    }

    /// Past the archive's CRC: the pickle itself is changed, the archive around it is right.
    #[test]
    fn changed_pickles_neither_panic_nor_allocate_much(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut pickle = one(("FloatStorage", "0", 6), 0, &[2, 3], &[3, 1]);
        for (at, byte) in changes {
            let at = at.index(pickle.len());
            pickle[at] = byte;
        }
        check_allocation(&checkpoint(&pickle, &[("0", &floats(&SIX))]))?;
    }

    /// Operations at random, which reach deeper than changed bytes do.
    #[test]
    fn random_operations_neither_panic_nor_allocate_much(
        operations in prop::collection::vec(
            prop::sample::select(&b"N)}](tudseab012.RQq\x00h\x00q\x01h\x01K\x05M\x01\x02\x85\x86\x87\x81\x88\x94\x8f\x90\x91\x93"[..]),
            0..600,
        ),
    ) {
        let pickle = [b"\x80\x02", operations.as_slice()].concat();
        check_allocation(&checkpoint(&pickle, &[("0", &floats(&SIX))]))?;
    }
}

fn check_allocation(file: &[u8]) -> Result<(), TestCaseError> {
    let (result, allocated) = allocation::peak(|| read(file).map(|weights| weights.iter().count()));
    prop_assert!(allocated <= ALLOCATED_MAX, "{allocated} bytes allocated for {result:?}");
    Ok(())
}

/// Counts what each thread holds allocated.
#[allow(unsafe_code)] // An allocator cannot be written without; this one only counts and passes on.
mod allocation {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static HELD: Cell<usize> = const { Cell::new(0) };
        static PEAK: Cell<usize> = const { Cell::new(0) };
    }

    struct Counting;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    // SAFETY: every call is passed to the system's allocator unchanged.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let held = HELD.get().saturating_add(layout.size());
            HELD.set(held);
            PEAK.set(PEAK.get().max(held));
            // SAFETY: the caller's promise is the system allocator's.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            HELD.set(HELD.get().saturating_sub(layout.size()));
            // SAFETY: the caller's promise is the system allocator's.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    /// The result, and the most that this thread held at once beyond what it held before.
    pub fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
        let before = HELD.get();
        PEAK.set(before);
        let result = run();
        (result, PEAK.get() - before)
    }

    #[test]
    fn the_count_counts() {
        let (_, allocated) = peak(|| vec![0u8; 100_000]);
        assert!((100_000..101_000).contains(&allocated), "{allocated}");
    }
}
