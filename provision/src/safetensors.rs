//! Arrays of 64-bit floats as a `safetensors` file: eight bytes of length, a JSON header, then the numbers.

use serde_json::{Map, Value, json};

/// The file of some arrays, each with its name, shape and row-major values; the same arrays give the same bytes.
#[must_use]
pub fn encode(arrays: &[(&str, &[usize], &[f64])]) -> Vec<u8> {
    let mut header = Map::new();
    let mut data = Vec::new();
    for (name, shape, values) in arrays {
        let start = data.len();
        values.iter().for_each(|value| data.extend(value.to_le_bytes()));
        let entry = json!({ "dtype": "F64", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert((*name).to_owned(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // The format wants the numbers aligned; spaces may follow the header.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn header_then_numbers() {
        let file = super::encode(&[("a", &[2], &[1.5, -2.0]), ("b", &[1, 1], &[3.0])]);
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        assert_eq!(length % 8, 0);
        let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
        assert_eq!(header["b"]["data_offsets"], serde_json::json!([16, 24]));
        assert_eq!(file[8 + length..][16..], 3.0f64.to_le_bytes());
    }
}
