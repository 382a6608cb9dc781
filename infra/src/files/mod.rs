//! What is in a file: what it really is, pictures without what they tell of where and how they were taken,
//! and whether a scanner finds something bad in it.

#[cfg(test)]
mod fuzz;
mod pictures;
mod scanner;
mod sniff;

pub use pictures::{PICTURE_BYTES_MAX, Picture, PictureBroken, Small, clean, is_picture};
pub use scanner::{Scanner, ScannerAddressInvalid, Verdict};
pub use sniff::{AllowedTypes, SNIFFED_BYTES, TypeDiffers, TypesInvalid, sniff};
