//! Handles: how Java names objects that live here.
//!
//! A handle packs a slot, the slot's generation and the object's type into a positive `i64`. A handle that was
//! closed, was never given out, or names an object of another type is an error, never a wrong access: the
//! generation grows when a slot is freed, and a slot whose generations are used up is not used again.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kinesis_connector::{Error, ErrorKind, Result};

use crate::errors::internal;

/// An object that Java can hold a handle of.
pub(crate) trait Handled: Any + Send + Sync {
    /// Distinguishes the type in a handle: 1 to 127.
    const TAG: u8;
    /// The type's name in messages.
    const NAME: &'static str;
}

const GENERATION_BITS: u32 = 24;
const LAST_GENERATION: u32 = (1 << GENERATION_BITS) - 1;

type Object = Arc<dyn Any + Send + Sync>;

#[derive(Default)]
struct Slot {
    generation: u32,
    object: Option<Object>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// A table of objects. The process has one, [`TABLE`].
pub(crate) struct Table {
    slots: Mutex<Slots>,
}

/// All objects that Java holds handles of.
pub(crate) static TABLE: Table = Table::new();

struct Parts {
    tag: u8,
    generation: u32,
    slot: u32,
}

impl Parts {
    fn pack(&self) -> i64 {
        (i64::from(self.tag) << 56) | (i64::from(self.generation) << 32) | i64::from(self.slot)
    }

    fn unpack(handle: i64) -> Self {
        let bits = handle as u64;
        Self {
            tag: (bits >> 56) as u8,
            generation: (bits >> 32) as u32 & LAST_GENERATION,
            slot: bits as u32,
        }
    }
}

impl Table {
    const fn new() -> Self {
        Self {
            slots: Mutex::new(Slots {
                slots: Vec::new(),
                free: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the object in and gives its handle.
    pub(crate) fn insert<T: Handled>(&self, object: T) -> Result<i64> {
        let object: Object = Arc::new(object);
        let mut slots = self.lock();
        let slot = match slots.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(slots.slots.len())
                    .map_err(|_| internal("more objects than handles can name are open"))?;
                slots.slots.push(Slot::default());
                slot
            }
        };
        let entry = slots
            .slots
            .get_mut(slot as usize)
            .ok_or_else(|| internal("a free slot is not in the table"))?;
        entry.object = Some(object);
        Ok(Parts {
            tag: T::TAG,
            generation: entry.generation,
            slot,
        }
        .pack())
    }

    /// The object of this handle.
    pub(crate) fn get<T: Handled>(&self, handle: i64) -> Result<Arc<T>> {
        let parts = Parts::unpack(handle);
        let slots = self.lock();
        let object = slots
            .slots
            .get(parts.slot as usize)
            .filter(|entry| entry.generation == parts.generation && parts.tag == T::TAG)
            .and_then(|entry| entry.object.clone());
        drop(slots);
        object
            .and_then(|object| object.downcast::<T>().ok())
            .ok_or_else(|| invalid::<T>(handle))
    }

    /// Takes the object out; the handle is stale from now on.
    pub(crate) fn remove<T: Handled>(&self, handle: i64) -> Result<Arc<T>> {
        let object = self.get::<T>(handle)?;
        let parts = Parts::unpack(handle);
        let mut slots = self.lock();
        let Some(entry) = slots
            .slots
            .get_mut(parts.slot as usize)
            .filter(|entry| entry.generation == parts.generation)
        else {
            // Another thread closed it in between.
            return Err(invalid::<T>(handle));
        };
        let removed = entry.object.take();
        if entry.generation < LAST_GENERATION {
            entry.generation += 1;
            slots.free.push(parts.slot);
        }
        drop(slots);
        drop(removed);
        Ok(object)
    }

    /// How many objects are open.
    #[cfg(any(test, feature = "boundary-tests"))]
    pub(crate) fn open(&self) -> usize {
        self.lock()
            .slots
            .iter()
            .filter(|slot| slot.object.is_some())
            .count()
    }
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
        const TAG: u8 = 1;
        const NAME: &'static str = "apple";
    }

    #[derive(Debug)]
    struct Pear;
    impl Handled for Pear {
        const TAG: u8 = 127;
        const NAME: &'static str = "pear";
    }

    fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn a_handle_leads_to_its_object() {
        let table = Table::new();
        let (one, two) = (table.insert(Apple(1)).unwrap(), table.insert(Apple(2)).unwrap());
        assert_eq!(table.get::<Apple>(one).unwrap().0, 1);
        assert_eq!(table.get::<Apple>(two).unwrap().0, 2);
        assert!(one > 0 && two > 0 && table.insert(Pear).unwrap() > 0);
        assert_eq!(table.open(), 3);
    }

    #[test]
    fn a_stale_handle_is_an_error_also_when_its_slot_is_used_again() {
        let table = Table::new();
        let first = table.insert(Apple(1)).unwrap();
        assert_eq!(table.remove::<Apple>(first).unwrap().0, 1);
        let second = table.insert(Apple(2)).unwrap();
        assert_eq!(Parts::unpack(first).slot, Parts::unpack(second).slot);
        assert_eq!(kind(table.get::<Apple>(first)), Some(ErrorKind::InvalidHandle));
        assert_eq!(kind(table.remove::<Apple>(first)), Some(ErrorKind::InvalidHandle));
        assert_eq!(table.get::<Apple>(second).unwrap().0, 2);
    }

    #[test]
    fn a_handle_of_another_type_is_an_error_and_stays_valid() {
        let table = Table::new();
        let pear = table.insert(Pear).unwrap();
        assert_eq!(kind(table.get::<Apple>(pear)), Some(ErrorKind::InvalidHandle));
        assert_eq!(kind(table.remove::<Apple>(pear)), Some(ErrorKind::InvalidHandle));
        assert!(table.get::<Pear>(pear).is_ok());
    }

    #[test]
    fn invented_handles_are_errors() {
        let table = Table::new();
        let real = table.insert(Apple(1)).unwrap();
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
    fn a_slot_out_of_generations_is_retired() {
        let table = Table::new();
        let handle = table.insert(Apple(1)).unwrap();
        table.lock().slots[0].generation = LAST_GENERATION;
        let last = Parts {
            tag: Apple::TAG,
            generation: LAST_GENERATION,
            slot: 0,
        }
        .pack();
        assert!(last > 0 && last != handle);
        table.remove::<Apple>(last).unwrap();
        let next = table.insert(Apple(2)).unwrap();
        assert_eq!(Parts::unpack(next).slot, 1);
    }

    #[test]
    fn of_many_threads_that_close_one_handle_exactly_one_succeeds() {
        let table = Table::new();
        let handle = table.insert(Apple(1)).unwrap();
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
