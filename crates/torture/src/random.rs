//! Random numbers that follow from the seed, the part and the case, so that each case can be repeated alone.

/// SplitMix64 (Steele, Lea, Flood 2014): sixty-four bits of state, good enough to choose faults by.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one case, or of whatever else `stream` numbers.
    pub(crate) fn new(seed: u64, part: &str, stream: u64) -> Random {
        let mut state = seed ^ 0x9E37_79B9_7F4A_7C15;
        for byte in part.bytes() {
            state = Random(state ^ u64::from(byte)).next();
        }
        Random(Random(state ^ stream.rotate_left(32)).next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0. (The bias is below one in 2³² for all that is asked here.)
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// A name of `length` bytes, any but NUL and `/`; never `.` or `..`.
    pub(crate) fn name(&mut self, length: usize) -> Vec<u8> {
        loop {
            let name: Vec<u8> = (0..length).map(|_| self.byte()).collect();
            let sound = name.iter().all(|&byte| byte != 0 && byte != b'/');
            if sound && name != b"." && name != b".." {
                return name;
            }
        }
    }
}
