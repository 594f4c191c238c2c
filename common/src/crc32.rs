//! CRC-32 as gzip, PNG and zip have it, four bits at a time: a table of 64 bytes.

/// A checksum of the bytes that were added so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Crc(u32);

const NIBBLES: [u32; 16] = nibbles();

const fn nibbles() -> [u32; 16] {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xEDB8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

impl Crc {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        let mut crc = !self.0;
        for byte in bytes {
            crc ^= u32::from(*byte);
            crc = (crc >> 4) ^ NIBBLES[(crc & 15) as usize];
            crc = (crc >> 4) ^ NIBBLES[(crc & 15) as usize];
        }
        self.0 = !crc;
    }

    /// The checksum of all that was added.
    pub fn value(self) -> u32 {
        self.0
    }
}

/// The checksum of these bytes.
pub fn of(bytes: &[u8]) -> u32 {
    let mut crc = Crc::default();
    crc.add(bytes);
    crc.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        let mut crc = Crc::default();
        crc.add(b"12345");
        crc.add(b"6789");
        assert_eq!(crc.value(), 0xCBF4_3926);
    }
}
