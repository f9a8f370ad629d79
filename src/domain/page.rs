//! Pages of a listing.

/// Which end of a listing comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    Ascending,
    /// The newest first.
    Descending,
}

/// A page of a listing: which, and of how many items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    number: u64,
    size: u32,
}

impl Page {
    /// How many items a page has when nobody says.
    pub const DEFAULT_SIZE: u32 = 20;
    /// The most items of a page: one request must not read a whole table.
    pub const MAX_SIZE: u32 = 500;

    /// The page that these numbers ask for, whatever they are: below one is the first page, or the default size; too many is as many as
    /// there may be.
    pub fn new(number: i64, size: i64) -> Self {
        let size = if size < 1 { Self::DEFAULT_SIZE } else { u32::try_from(size).unwrap_or(u32::MAX).min(Self::MAX_SIZE) };
        Self { number: u64::try_from(number).unwrap_or(0).max(1), size }
    }

    /// Which page; the first is 1.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// How many items it has at most; at least 1.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// How many items come before it.
    pub const fn offset(self) -> u64 {
        (self.number - 1).saturating_mul(self.size as u64)
    }

    /// The number of the last page, when there are `total` items in all. Where there are none the first page, which is empty, is the last.
    pub const fn last(self, total: u64) -> u64 {
        let pages = total.div_ceil(self.size as u64);
        if pages == 0 { 1 } else { pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_numbers_are_a_page() {
        for (asked, number, size, offset) in [
            ((1, 20), 1, 20, 0),
            ((0, 0), 1, 20, 0),
            ((-7, -1), 1, 20, 0),
            ((i64::MIN, i64::MIN), 1, 20, 0),
            ((2, 1), 2, 1, 1),
            ((3, 500), 3, 500, 1000),
            ((3, 501), 3, 500, 1000),
            ((1, i64::MAX), 1, 500, 0),
            ((i64::MAX, 1), i64::MAX.unsigned_abs(), 1, i64::MAX.unsigned_abs() - 1),
            ((i64::MAX, 500), i64::MAX.unsigned_abs(), 500, u64::MAX),
        ] {
            let page = Page::new(asked.0, asked.1);
            assert_eq!((page.number(), page.size(), page.offset()), (number, size, offset), "{asked:?}");
        }
    }

    #[test]
    fn the_last_page_has_the_last_item() {
        for (total, last) in [(0, 1), (1, 1), (19, 1), (20, 1), (21, 2), (40, 2), (41, 3)] {
            assert_eq!(Page::new(1, 20).last(total), last, "{total}");
        }
    }
}
