//! Where a file has data: its extents, by SEEK_DATA and SEEK_HOLE, so that holes are neither read nor stored.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Ranges of data, in order, in bytes; what is between is a hole. After an error there is nothing more.
#[derive(Debug)]
pub struct DataExtents<'a> {
    file: BorrowedFd<'a>,
    at: u64,
    size: u64,
    may_have_holes: bool,
}

impl<'a> DataExtents<'a> {
    pub(super) fn new(file: BorrowedFd<'a>, size: u64, may_have_holes: bool) -> Self {
        Self {
            file,
            at: 0,
            size,
            may_have_holes,
        }
    }

    fn find(&mut self) -> io::Result<Option<Range<u64>>> {
        if self.at >= self.size {
            return Ok(None);
        }
        if !self.may_have_holes {
            return Ok(Some(self.at..self.size));
        }
        let start = match rustix::fs::seek(self.file, SeekFrom::Data(self.at)) {
            Ok(start) if start >= self.size => return Ok(None),
            // A file system that knows no holes, or says nonsense: all of it is data.
            Ok(start) if start < self.at => return Ok(Some(self.at..self.size)),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(self.at..self.size)),
            Ok(start) => start,
            // No data from here to the end.
            Err(Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end = match rustix::fs::seek(self.file, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(self.size),
            // The file was cut short meanwhile; reading will find its end.
            Ok(_) | Err(Errno::NXIO) => self.size,
            Err(error) => return Err(error.into()),
        };
        Ok(Some(start..end))
    }
}

impl Iterator for DataExtents<'_> {
    type Item = io::Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        let extent = self.find().transpose();
        self.at = match &extent {
            Some(Ok(extent)) => extent.end,
            Some(Err(_)) | None => self.size,
        };
        extent
    }
}
