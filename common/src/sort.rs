//! Sorting of what is short or seldom sorted, for a small program: each type and order that
//! `slice::sort` is used with brings 5 KB of machine code; all that is sorted here shares one copy.
//! Stable, O(n log n), and allocates one index per item: where lines or samples pass, use std's.

use std::cmp::Ordering;

/// A collection with these items, such as a `BTreeMap`, into which they are put one by one: its `collect` sorts
/// them first. Equal keys end as with `collect`: the last value counts.
pub fn gathered<C: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> C {
    let mut all = C::default();
    all.extend(items);
    all
}

/// Sorts by the items' own order.
pub fn plainly<T: Ord>(items: &mut [T]) {
    by(items, T::cmp);
}

/// Sorts by what `key` makes of each item; it is called often.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |a, b| key(a).cmp(&key(b)));
}

/// Sorts by `compare`. If that is no total order, the order is unspecified, or it panics as
/// `slice::sort_by` may.
pub fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut order = ranks(items.len(), &|a, b| compare(&items[a], &items[b]));
    // `order[n]` says where the item is that belongs at n: each cycle of them is gone round once
    for start in 0..items.len() {
        let mut at = start;
        while order[at] != start {
            let from = order[at];
            items.swap(at, from);
            order[at] = at;
            at = from;
        }
        order[at] = at;
    }
}

/// The numbers below `n` in the order of what they stand for.
#[inline(never)]
fn ranks(n: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_std_does_and_is_stable() {
        let mut state = 1u64;
        for n in (0..70).chain([1000]) {
            let mut items: Vec<(u64, usize)> = (0..n)
                .map(|k| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                    ((state >> 33) % 50, k)
                })
                .collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            by_key(&mut items, |item| item.0);
            assert_eq!(items, expected);
            expected.sort_by(|a, b| b.cmp(a));
            by(&mut items, |a, b| b.cmp(a));
            assert_eq!(items, expected);
            expected.sort();
            plainly(&mut items);
            assert_eq!(items, expected);
        }
    }
}
