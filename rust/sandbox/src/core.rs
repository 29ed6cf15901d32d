//! State and control operations of a running sandbox, shared by the HTTP endpoints and the methods of `Sandbox`.

use std::sync::Arc;

use crate::config::SandboxConfig;
use crate::knobs::{
    Aim, Fault, FaultUpdate, ForgetUpdate, KnobError, KnobUpdate, Knobs, LimitsUpdate, ListingUpdate,
    Settings, ShardLimits, StretchUpdate, TrimUpdate, WaitingFault, schedule,
};
use crate::protocol::{ErrorCode, Operation};
use crate::stats::{Counters, Stats};
use crate::store::{ListingUntil, Stream, Streams, Stretch, now_ms};
use crate::wire::Switches;

/// The state shared by all connections.
#[derive(Debug)]
pub(crate) struct Core {
    pub config: SandboxConfig,
    pub streams: Streams,
    pub knobs: Knobs,
    pub counters: Counters,
    pub switches: Switches,
}

impl Core {
    pub fn new(config: SandboxConfig) -> Core {
        let knobs = Knobs::new(initial(&config), config.seed);
        Core {
            config,
            streams: Streams::default(),
            knobs,
            counters: Counters::default(),
            switches: Switches::default(),
        }
    }

    pub fn stats(&self) -> Stats {
        let shards = |stream: &Stream| {
            let lineage = stream.read();
            let shards = lineage.shards.iter();
            shards
                .map(|shard| (shard.id.clone(), shard.counters.read()))
                .collect()
        };
        let streams = self.streams.all();
        self.counters.read(
            streams
                .iter()
                .map(|stream| (stream.name.clone(), shards(stream)))
                .collect(),
        )
    }

    /// Restores the initial state: no streams, counters at zero, the configured knobs.
    pub fn reset(&self) {
        self.streams.clear();
        self.counters.clear();
        self.knobs.reset(initial(&self.config), self.config.seed);
    }

    /// Applies an update. An invalid update changes nothing, except that the parts that concern a stream or shard are
    /// checked only when they are applied.
    pub fn apply(&self, update: &KnobUpdate) -> Result<(), KnobError> {
        let mut faults = Vec::new();
        for fault in &update.faults {
            let kind = Fault::parse(&fault.error).ok_or_else(|| unknown("error", &fault.error))?;
            let operation = operation(&fault.operation)?;
            faults.push((
                operation,
                aim(operation, fault)?,
                kind,
                schedule(fault.count, fault.fraction)?,
            ));
        }
        let mut entry_faults = Vec::new();
        for fault in &update.entry_faults {
            let code = ErrorCode::parse(&fault.error).ok_or_else(|| unknown("error", &fault.error))?;
            entry_faults.push((code, schedule(fault.count, fault.fraction)?));
        }
        let subscription_faults = update.subscription_faults.iter().map(WaitingFault::new);
        let subscription_faults = subscription_faults.collect::<Result<Vec<_>, _>>()?;
        let mut delays = Vec::new();
        for (name, ms) in &update.delays {
            delays.push((operation(name)?, *ms));
        }
        if let Some(forget) = &update.forget {
            self.forget(forget)?;
        }
        if let Some(trim) = &update.trim {
            self.trim(trim)?;
        }
        for listing in &update.listings {
            self.list_so(listing)?;
        }
        for stretch in &update.stretches {
            self.stretch(stretch)?;
        }

        if update.clear_faults {
            self.knobs.clear_faults();
        }
        if let Some(seed) = update.seed {
            self.knobs.seed(seed);
        }
        for (operation, aim, fault, schedule) in faults {
            self.knobs.add_fault(operation, aim, fault, schedule);
        }
        for (code, schedule) in entry_faults {
            self.knobs.add_entry_fault(code, schedule);
        }
        for fault in subscription_faults {
            self.fail_subscriptions(fault);
        }
        if update.darken_connections {
            self.switches.all_off();
        }
        self.knobs.change(|settings| {
            set(&mut settings.iterator_max_age_ms, update.iterator_max_age_ms);
            set(&mut settings.next_token_max_age_ms, update.next_token_max_age_ms);
            set(&mut settings.arrival_offset_ms, update.arrival_offset_ms);
            set(&mut settings.auto_distribution, update.auto_distribution);
            set(&mut settings.transition_ms, update.transition_ms);
            set(&mut settings.foreign_callers, update.foreign_callers);
            set(&mut settings.clock_offset_ms, update.clock_offset_ms);
            set(&mut settings.empty_answers, update.empty_answers);
            settings.iterator_epoch += u32::from(update.expire_iterators);
            if let Some(cap) = update.max_records_per_get {
                settings.max_records_per_get = (cap > 0).then_some(cap);
            }
            if let Some(limits) = update.shard_limits {
                settings.shard_limits = match limits {
                    LimitsUpdate::Switch(on) => on.then(ShardLimits::default),
                    LimitsUpdate::Values(limits) => Some(limits),
                };
            }
            if let Some(keys) = &update.rejected_keys {
                settings.rejected_keys.clone_from(keys);
            }
            if let Some(allowed) = &update.allowed {
                settings.allowed.clone_from(allowed);
            }
            if let Some(update) = &update.subscriptions {
                settings.subscriptions.change(update);
            }
            for (operation, ms) in delays {
                settings.delays.insert(operation, ms);
            }
            settings.delays.retain(|_, ms| *ms > 0);
        });
        Ok(())
    }

    /// Plans a fault for open subscriptions, or keeps it for future ones.
    pub fn fail_subscriptions(&self, mut fault: WaitingFault) {
        if !fault.open {
            self.knobs.add_subscription_fault(fault);
            return;
        }
        for stream in self.streams.all() {
            for consumer in stream.consumers().all() {
                for control in consumer.open_subscriptions() {
                    if fault.concerns(&stream.name, &control.shard.id)
                        && self.knobs.meets(&mut fault.schedule)
                    {
                        control.plan(fault.fault);
                    }
                }
            }
        }
    }

    /// Removes records; returns their number.
    pub fn trim(&self, trim: &TrimUpdate) -> Result<usize, KnobError> {
        let stream = self.stream(&trim.stream)?;
        let shards = match &trim.shard {
            Some(id) => vec![stream.shard(id).map_err(|e| KnobError(e.message))?],
            None => stream.read().listed().cloned().collect(),
        };
        // A sequence number belongs to one shard, so without a shard id only that shard trims.
        let removed: Vec<usize> = shards
            .iter()
            .filter_map(|shard| shard.trim(&trim.records))
            .collect();
        if !removed.is_empty() {
            return Ok(removed.iter().sum());
        }
        Err(KnobError(format!(
            "the sequence number to trim up to was not given by {}",
            trim.shard.as_deref().unwrap_or("any shard of the stream")
        )))
    }

    /// Removes a closed shard from the lists.
    pub fn forget(&self, forget: &ForgetUpdate) -> Result<(), KnobError> {
        let stream = self.stream(&forget.stream)?;
        let shard = stream.shard(&forget.shard).map_err(|e| KnobError(e.message))?;
        let mut state = shard.state();
        if state.closed_ms.is_none() {
            return Err(KnobError(format!(
                "shard {} is open; only a closed one can be forgotten",
                shard.id
            )));
        }
        state.unlisted = true;
        Ok(())
    }

    /// Makes ListShards show an earlier state of a stream's shards.
    pub fn list_so(&self, listing: &ListingUpdate) -> Result<(), KnobError> {
        let until = match (listing.count, listing.for_ms) {
            (Some(lists), None) => ListingUntil::Lists(lists),
            (None, Some(ms)) => ListingUntil::Ms(now_ms().saturating_add_unsigned(ms)),
            _ => return Err(KnobError("a listing needs either count or for_ms".into())),
        };
        self.stream(&listing.stream)?.show(listing.show, until);
        Ok(())
    }

    /// Adds a stretch without records to a shard, or removes it.
    pub fn stretch(&self, update: &StretchUpdate) -> Result<(), KnobError> {
        let stream = self.stream(&update.stream)?;
        let shard = stream.shard(&update.shard).map_err(|e| KnobError(e.message))?;
        let mut state = shard.state();
        let Some(after) = &update.after else {
            state.stretches.before_all = update.answers;
            return Ok(());
        };
        let Some(index) = shard.index_of(&state, after) else {
            return Err(KnobError(format!(
                "the sequence number {after} was not given by shard {}",
                shard.id
            )));
        };
        if update.answers == 0 {
            state.stretches.placed.remove(&(index + 1));
            return Ok(());
        }
        let arrival = |index: u64| {
            let record = state.records.get(index.checked_sub(state.first)? as usize);
            record.map(|record| record.arrival_ms)
        };
        let from_ms = match index {
            0 => shard.created_ms,
            index => arrival(index).ok_or_else(|| KnobError(format!("the record {after} was trimmed")))?,
        };
        let to_ms = arrival(index + 1).unwrap_or_else(now_ms);
        let stretch = Stretch::new(from_ms, to_ms, update.answers).ok_or_else(|| {
            KnobError(format!(
                "the stretch lasts {} ms, too short for {} answers; arrival_offset_ms shifts the arrival of records",
                to_ms - from_ms,
                update.answers
            ))
        })?;
        state.stretches.placed.insert(index + 1, stretch);
        Ok(())
    }

    fn stream(&self, name: &str) -> Result<Arc<Stream>, KnobError> {
        self.streams.get(name).map_err(|e| KnobError(e.message))
    }
}

/// Target of a call fault.
fn aim(operation: Operation, fault: &FaultUpdate) -> Result<Aim, KnobError> {
    let of_shards = [
        Operation::GetRecords,
        Operation::GetShardIterator,
        Operation::SubscribeToShard,
    ];
    if fault.shard.is_some() && !of_shards.contains(&operation) {
        return Err(KnobError(format!(
            "no call of {} is one of a shard; those of {} are",
            operation.name(),
            of_shards.map(Operation::name).join(", ")
        )));
    }
    Ok(Aim {
        stream: fault.stream.clone(),
        shard: fault.shard.clone(),
    })
}

/// Initial knob settings, from the configuration.
fn initial(config: &SandboxConfig) -> Settings {
    Settings {
        transition_ms: config.transition_ms,
        shard_limits: config.shard_limits,
        rejected_keys: config.rejected_keys.iter().cloned().collect(),
        iterator_max_age_ms: config.iterator_max_age_ms,
        ..Settings::default()
    }
}

fn set<T: Copy>(value: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *value = new;
    }
}

pub(crate) fn operation(name: &str) -> Result<Operation, KnobError> {
    Operation::parse(name).ok_or_else(|| unknown("operation", name))
}

fn unknown(what: &str, name: &str) -> KnobError {
    let known: Vec<&str> = match what {
        "operation" => Operation::ALL.iter().map(|op| op.name()).collect(),
        _ => ["throttle", "internal", "drop (of a call)"]
            .into_iter()
            .chain(ErrorCode::ALL.iter().map(|code| code.name()))
            .collect(),
    };
    KnobError(format!("unknown {what} {name:?}; known are {}", known.join(", ")))
}
