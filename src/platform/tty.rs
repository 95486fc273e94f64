//! A serial port's descriptor, borrowed for as long as the port lives.
use rustix::fd::{AsRawFd, BorrowedFd};

/// The descriptor of `port`, for calls that the crate does not have.
#[allow(unsafe_code)]
pub fn descriptor(port: &serialport::TTYPort) -> BorrowedFd<'_> {
    // SAFETY: the port owns the descriptor and closes it when it is dropped, which the borrow of
    // the port forbids for as long as the result lives.
    unsafe { BorrowedFd::borrow_raw(port.as_raw_fd()) }
}
