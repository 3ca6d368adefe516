//! Writers of the files that the tests feed to the readers: zip archives and PyTorch checkpoints, well-formed or not.
#![allow(dead_code, missing_docs)] // Each test program uses its own part.

pub mod networks;
pub mod onnx;

/// A zip archive of stored entries, byte for byte under our control.
pub fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in entries {
        let at = file.len() as u32;
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let size = (content.len() as u32).to_le_bytes();
        let name_bytes = (name.len() as u16).to_le_bytes();
        let shared = |out: &mut Vec<u8>| {
            out.extend([0; 6]); // flags, method (stored), time
            out.extend([0; 2]); // date
            out.extend(crc.sum().to_le_bytes());
            out.extend(size);
            out.extend(size);
            out.extend(name_bytes);
            out.extend([0; 2]); // extra
        };
        file.extend(b"PK\x03\x04\x14\x00");
        shared(&mut file);
        file.extend(name.as_bytes());
        file.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x00\x14\x00");
        shared(&mut directory);
        directory.extend([0; 10]); // comment, volume, attributes
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count);
    file.extend(count);
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// A pickle under construction: each call appends one operation, as `torch.save` writes them (protocol 2).
#[derive(Clone, Default)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub fn int(self, value: i64) -> Self {
        self.raw(b"\x8a\x08").raw(&value.to_le_bytes())
    }

    pub fn class(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.raw(b"("), |pickle, value| pickle.int(*value)).raw(b"t")
    }

    pub fn storage(self, class: &str, key: &str, count: i64) -> Self {
        let kind = self.raw(b"(").text("storage").class("torch", class);
        kind.text(key).text("cpu").int(count).raw(b"tQ")
    }

    /// A tensor over a storage of `count` elements.
    pub fn tensor(self, storage: (&str, &str, i64), offset: i64, shape: &[i64], stride: &[i64]) -> Self {
        self.class("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .storage(storage.0, storage.1, storage.2)
            .int(offset)
            .ints(shape)
            .ints(stride)
            .raw(b"\x89")
            .class("collections", "OrderedDict")
            .raw(b")RtR")
    }

    /// The finished pickle.
    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// A dictionary of one tensor named `t`.
pub fn one(storage: (&str, &str, i64), offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    Pickle::new().raw(b"}").text("t").tensor(storage, offset, shape, stride).raw(b"s").stop()
}

/// A checkpoint of a pickle and its storages.
pub fn checkpoint(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<String> = storages.iter().map(|(key, _)| format!("archive/data/{key}")).collect();
    let mut entries: Vec<(&str, &[u8])> = vec![("archive/data.pkl", pickle)];
    entries.extend(names.iter().map(String::as_str).zip(storages.iter().map(|(_, content)| *content)));
    entries.push(("archive/version", b"3\n"));
    zip_of(&entries)
}

/// A checkpoint of contiguous float tensors, each with a storage of its own.
pub fn state_dict(tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let mut pickle = Pickle::new().raw(b"}(");
    let mut storages = Vec::new();
    for (number, (name, shape, values)) in tensors.iter().enumerate() {
        let key = number.to_string();
        let shape: Vec<i64> = shape.iter().map(|dim| *dim as i64).collect();
        let stride: Vec<i64> = (1..=shape.len()).map(|axis| shape[axis..].iter().product()).collect();
        pickle = pickle.text(name).tensor(("FloatStorage", &key, values.len() as i64), 0, &shape, &stride);
        storages.push((key, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()));
    }
    let storages: Vec<(&str, &[u8])> =
        storages.iter().map(|(key, raw)| (key.as_str(), raw.as_slice())).collect();
    checkpoint(&pickle.raw(b"u").stop(), &storages)
}
