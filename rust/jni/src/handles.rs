//! Handles: the numbers by which Java refers to native objects.
//!
//! A handle is a slot map's key (a slot and its generation) as a positive `i64`. A handle that was closed, was never
//! issued, or belongs to an object of another type is an error, never a wrong access. The generation grows when a
//! slot is freed, and a slot whose generations are used up stays unused.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use kinesis_connector::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use slotmap::{DefaultKey, Key, KeyData, SlotMap};

/// An object that Java can hold a handle to.
pub(crate) trait Handled: Any + Send + Sync {
    /// The type's name in messages.
    const NAME: &'static str;
}

type Object = Arc<dyn Any + Send + Sync>;

/// Placeholder in a slot whose generations are used up.
struct Retired;

/// A table of objects. The process has one, [`TABLE`].
#[derive(Default)]
pub(crate) struct Table {
    objects: Mutex<SlotMap<DefaultKey, Object>>,
}

/// All objects that Java holds handles to.
pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(Table::default);

/// The handle of a key; `None` if the generation is too large for a positive number.
fn handle_of(key: DefaultKey) -> Option<i64> {
    i64::try_from(key.data().as_ffi()).ok()
}

/// The key of a handle; `None` for a number that no key has.
fn key_of(handle: i64) -> Option<DefaultKey> {
    let key = KeyData::from_ffi(handle as u64);
    // `from_ffi` turns an even generation, which no key has, into the next odd one.
    (key.as_ffi() == handle as u64).then(|| key.into())
}

impl Table {
    /// Inserts the object and returns its handle.
    pub(crate) fn insert<T: Handled>(&self, object: T) -> i64 {
        let object: Object = Arc::new(object);
        let mut objects = self.objects.lock();
        loop {
            let key = objects.insert(Arc::clone(&object));
            if let Some(handle) = handle_of(key) {
                return handle;
            }
            if let Some(slot) = objects.get_mut(key) {
                *slot = Arc::new(Retired);
            }
        }
    }

    /// The object of this handle; an `InvalidHandle` error if it is closed or of another type.
    pub(crate) fn get<T: Handled>(&self, handle: i64) -> Result<Arc<T>> {
        let object = key_of(handle).and_then(|key| self.objects.lock().get(key).cloned());
        object
            .and_then(|object| object.downcast::<T>().ok())
            .ok_or_else(|| invalid::<T>(handle))
    }

    /// Removes the object and makes its handle stale.
    pub(crate) fn remove<T: Handled>(&self, handle: i64) -> Result<Arc<T>> {
        let object = self.get::<T>(handle)?;
        let removed = key_of(handle).and_then(|key| self.objects.lock().remove(key));
        // `None` if another thread closed it in between.
        removed.map(|_| object).ok_or_else(|| invalid::<T>(handle))
    }

    /// Number of open objects.
    fn open(&self) -> usize {
        let objects = self.objects.lock();
        objects.values().filter(|object| !object.is::<Retired>()).count()
    }
}

/// Number of objects that Java holds handles to.
pub fn open_objects() -> usize {
    TABLE.open()
}

fn invalid<T: Handled>(handle: i64) -> Error {
    Error::new(
        ErrorKind::InvalidHandle,
        format!("this {} was closed already, or is none", T::NAME),
    )
    .with("handle", format!("{handle:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Apple(u32);
    impl Handled for Apple {
        const NAME: &'static str = "apple";
    }

    #[derive(Debug)]
    struct Pear;
    impl Handled for Pear {
        const NAME: &'static str = "pear";
    }

    fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn a_handle_leads_to_its_object() {
        let table = Table::default();
        let (one, two) = (table.insert(Apple(1)), table.insert(Apple(2)));
        assert_eq!(table.get::<Apple>(one).unwrap().0, 1);
        assert_eq!(table.get::<Apple>(two).unwrap().0, 2);
        assert!(one > 0 && two > 0 && table.insert(Pear) > 0);
        assert_eq!(table.open(), 3);
    }

    #[test]
    fn a_stale_handle_is_an_error_also_when_its_slot_is_used_again() {
        let table = Table::default();
        let first = table.insert(Apple(1));
        assert_eq!(table.remove::<Apple>(first).unwrap().0, 1);
        let second = table.insert(Apple(2));
        assert_eq!(first as u32, second as u32);
        assert_eq!(kind(table.get::<Apple>(first)), Some(ErrorKind::InvalidHandle));
        assert_eq!(kind(table.remove::<Apple>(first)), Some(ErrorKind::InvalidHandle));
        assert_eq!(table.get::<Apple>(second).unwrap().0, 2);
    }

    #[test]
    fn a_handle_of_another_type_is_an_error_and_stays_valid() {
        let table = Table::default();
        let pear = table.insert(Pear);
        assert_eq!(kind(table.get::<Apple>(pear)), Some(ErrorKind::InvalidHandle));
        assert_eq!(kind(table.remove::<Apple>(pear)), Some(ErrorKind::InvalidHandle));
        assert!(table.get::<Pear>(pear).is_ok());
    }

    #[test]
    fn invented_handles_are_errors() {
        let table = Table::default();
        let real = table.insert(Apple(1));
        for handle in [
            0,
            -1,
            1,
            i64::MAX,
            i64::MIN,
            real ^ (1 << 56),
            real + 1,
            real | (1 << 40),
        ] {
            assert_eq!(
                kind(table.get::<Apple>(handle)),
                Some(ErrorKind::InvalidHandle),
                "{handle:#x}"
            );
        }
    }

    #[test]
    fn the_generations_of_a_slot_end_with_the_positive_numbers() {
        let key = |generation: u64| DefaultKey::from(KeyData::from_ffi((generation << 32) | 1));
        let last = handle_of(key(0x7fff_ffff)).unwrap();
        assert!(last > 0 && key_of(last) == Some(key(0x7fff_ffff)));
        assert_eq!(handle_of(key(0x8000_0001)), None);
    }

    #[test]
    fn of_many_threads_that_close_one_handle_exactly_one_succeeds() {
        let table = Table::default();
        let handle = table.insert(Apple(1));
        let closed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| table.remove::<Apple>(handle).is_ok()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|ok| *ok)
                .count()
        });
        assert_eq!(closed, 1);
        assert_eq!(table.open(), 0);
    }
}
