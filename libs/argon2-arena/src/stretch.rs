//! Which block refers to which (RFC 9106 §3.4).

/// Slices of a pass. Blocks never reference the current slice of another lane.
pub(crate) const SLICES: u32 = 4;

/// The matrix of blocks: lanes one after another.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) lanes: u32,
    pub(crate) lane_length: u32,
    pub(crate) segment_length: u32,
}

impl Shape {
    /// Of `memory_kib`, which is at least 8 for each of the `lanes`.
    pub(crate) fn new(memory_kib: u32, lanes: u32) -> Self {
        let segment_length = memory_kib / (SLICES * lanes);
        Self { lanes, lane_length: segment_length * SLICES, segment_length }
    }

    /// The number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.lanes as usize * self.lane_length as usize
    }

    /// The index of the first block of a lane.
    pub(crate) fn lane(&self, lane: u32) -> u32 {
        lane * self.lane_length
    }
}

/// One slice of one lane in one pass.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) shape: Shape,
    pub(crate) pass: u32,
    pub(crate) slice: u32,
    pub(crate) lane: u32,
}

impl Segment {
    /// The index of a block of the segment.
    pub(crate) fn index(&self, block: u32) -> u32 {
        self.shape.lane(self.lane) + self.slice * self.shape.segment_length + block
    }

    /// The index of the block before.
    pub(crate) fn previous(&self, block: u32) -> u32 {
        match (self.slice, block) {
            (0, 0) => self.shape.lane(self.lane) + self.shape.lane_length - 1,
            _ => self.index(block) - 1,
        }
    }

    /// The first block that a pass fills: the first two of a lane exist from the beginning.
    pub(crate) fn first(&self) -> u32 {
        if self.pass == 0 && self.slice == 0 { 2 } else { 0 }
    }

    /// The index of the block that `block` refers to, by the word `random`: J1 is its lower half, J2 its
    /// upper. It is less than [`Shape::blocks`], and neither that of `block` nor of the one before.
    #[inline]
    pub(crate) fn reference(&self, block: u32, random: u64) -> u32 {
        let Shape { lanes, lane_length, segment_length } = self.shape;
        let [j1, j2] = [random & 0xffff_ffff, random >> 32];
        let lane = if lanes == 1 || (self.pass == 0 && self.slice == 0) {
            self.lane
        } else {
            low(j2 % u64::from(lanes))
        };
        let finished =
            if self.pass == 0 { self.slice * segment_length } else { lane_length - segment_length };
        let area = if lane == self.lane { finished + block - 1 } else { finished - u32::from(block == 0) };
        let area = u64::from(area);
        let back = (area * ((j1 * j1) >> 32)) >> 32;
        let start = if self.pass == 0 || self.slice == SLICES - 1 {
            0
        } else {
            u64::from((self.slice + 1) * segment_length)
        };
        // Both terms are less than the length of a lane.
        let column = start + (area - 1 - back);
        let length = u64::from(lane_length);
        self.shape.lane(lane) + low(if column < length { column } else { column - length })
    }
}

/// The lower half.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is asked for")]
fn low(word: u64) -> u32 {
    word as u32
}

/// The source of the references of a stretch.
#[derive(Clone, Copy)]
pub(crate) enum References<'a> {
    /// From the block before each.
    Dependent,
    /// From this list: an index for each block of the stretch.
    Given(&'a [u32]),
}

/// Consecutive blocks of a segment.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a> {
    pub(crate) segment: Segment,
    /// The first of them, counted within the segment.
    pub(crate) block: u32,
    /// Their number.
    pub(crate) length: u32,
    pub(crate) references: References<'a>,
    /// Whether new blocks are mixed into the old ones instead of replacing them.
    pub(crate) mixes: bool,
}

impl Stretch<'_> {
    /// The index of the block that the one at `offset` refers to. `random` is the first word of the block
    /// before.
    #[inline]
    pub(crate) fn reference(&self, offset: u32, random: u64) -> usize {
        let index = match self.references {
            References::Dependent => self.segment.reference(self.block + offset, random),
            References::Given(list) => list.get(offset as usize).copied().unwrap_or_default(),
        };
        index as usize
    }

    /// The index of the first block that is filled.
    pub(crate) fn start(&self) -> usize {
        self.segment.index(self.block) as usize
    }

    /// The index of the one before that.
    pub(crate) fn previous(&self) -> usize {
        self.segment.previous(self.block) as usize
    }
}

impl Stretch<'static> {
    /// Block 2 of the smallest matrix, which refers to block 0.
    pub(crate) const THIRD: Self = Self {
        segment: Segment {
            shape: Shape { lanes: 1, lane_length: 8, segment_length: 2 },
            pass: 0,
            slice: 0,
            lane: 0,
        },
        block: 2,
        length: 1,
        references: References::Given(&[0]),
        mixes: false,
    };
}
