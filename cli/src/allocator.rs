//! The allocator, told to give memory back.
//!
//! mimalloc keeps what was freed for a second before the system gets it back. A backup frees buffers of megabytes all the time, on many threads:
//! that second was half of its peak. Without it a first backup of 2.6 GiB peaked at 370 MiB instead of 528 with 12 workers, 190 instead of 248
//! with two, and was not slower.

/// `mi_option_purge_delay` of mimalloc 3 (`mimalloc.h`), in milliseconds; the bindings know its number in version 2 alone.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// What it is unless somebody said otherwise: by this the option is known to be the one that is meant.
const PURGE_DELAY_DEFAULT: std::ffi::c_long = 1000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has freed memory given back at once, unless the environment (`MIMALLOC_PURGE_DELAY`) asks for something else.
#[allow(unsafe_code, reason = "the allocator's options are reached through C alone")]
pub fn give_back_at_once() {
    // SAFETY: both calls read or write one number in a table of mimalloc's own, for any number of an option; the process has one thread yet.
    unsafe {
        if libmimalloc_sys::mi_option_get(PURGE_DELAY) == PURGE_DELAY_DEFAULT {
            libmimalloc_sys::mi_option_set(PURGE_DELAY, 0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code, reason = "as above")]
    fn the_option_has_the_default_that_it_is_known_by() {
        // SAFETY: reads one number.
        let before = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(
            before, PURGE_DELAY_DEFAULT,
            "another version of mimalloc numbers its options otherwise"
        );
        give_back_at_once();
        // SAFETY: reads one number.
        let after = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(after, 0);
    }
}
