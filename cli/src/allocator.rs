//! The allocator, told to give memory back.
//!
//! mimalloc keeps what was freed for a second before the system gets it back. A backup frees buffers of megabytes all the time, on many threads:
//! that second was half of its peak. With a hundredth of it a first backup of 2.6 GiB peaked at 245 MiB with ten workers instead of more than 500, and
//! was not slower. Without any delay a buffer that is freed for the next one costs page faults: a quarter of the time of a full check.

/// `mi_option_purge_delay` of mimalloc 3 (`mimalloc.h`), in milliseconds; the bindings know its number in version 2 alone.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// What it is set to.
const PURGE_DELAY_HERE: std::ffi::c_long = 10;
/// What it is unless somebody said otherwise: by this the option is known to be the one that is meant.
const PURGE_DELAY_DEFAULT: std::ffi::c_long = 1000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has freed memory given back soon, unless the environment (`MIMALLOC_PURGE_DELAY`) asks for something else.
#[allow(unsafe_code, reason = "the allocator's options are reached through C alone")]
pub fn give_back_soon() {
    // SAFETY: both calls read or write one number in a table of mimalloc's own, for any number of an option; the process has one thread yet.
    unsafe {
        if libmimalloc_sys::mi_option_get(PURGE_DELAY) == PURGE_DELAY_DEFAULT {
            libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_HERE);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
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
        give_back_soon();
        // SAFETY: reads one number.
        let after = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(after, PURGE_DELAY_HERE);
    }
}
