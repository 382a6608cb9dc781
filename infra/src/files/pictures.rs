//! Pictures: how large they are, a small one of each, and the picture itself without what it tells of where,
//! when and with what it was taken. It is not encoded anew: only which way up it is stays, beside
//! the pixels and their colours.

use std::io::Cursor;

use bytes::Bytes;
use domain::attachment::Dimensions;
use domain::values::MediaType;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};
use img_parts::ImageEXIF as _;
use img_parts::png::Png;
use img_parts::riff::{RiffChunk, RiffContent};
use img_parts::webp::WebP;

/// The largest picture that is taken, in bytes: it is held in memory while it is looked at.
pub const PICTURE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Of a picture with more pixels no small one is made.
const PIXELS_MAX: u64 = 64_000_000;

/// What decoding may take of memory, in bytes.
pub(super) const DECODING_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// No side of a picture is longer, in pixels.
const SIDE_MAX: u32 = 65_535;

/// No side of a small picture is longer, in pixels.
const SMALL_SIDE_MAX: u32 = 640;

/// How well a small picture is kept, of 100.
const SMALL_QUALITY: u8 = 80;

/// A picture as it is kept.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The picture, without what it tells.
    pub bytes: Bytes,
    /// As it is shown.
    pub dimensions: Dimensions,
    /// `None` of one that is too large.
    pub small: Option<Small>,
}

/// A small picture.
#[derive(Clone, Debug)]
pub struct Small {
    /// JPEG, or PNG where one sees through it.
    pub bytes: Bytes,
    /// Which of them.
    pub media_type: MediaType,
    /// At most 640 on each side.
    pub dimensions: Dimensions,
}

/// What says that it is a picture and is none, or a broken one.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be read: {0}")]
pub struct PictureBroken(String);

impl PictureBroken {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is what errors are mapped with"
    )]
    fn new(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

fn format_of(media_type: &MediaType) -> Option<ImageFormat> {
    match media_type.as_str() {
        "image/jpeg" => Some(ImageFormat::Jpeg),
        "image/png" => Some(ImageFormat::Png),
        "image/gif" => Some(ImageFormat::Gif),
        "image/webp" => Some(ImageFormat::WebP),
        _ => None,
    }
}

/// Whether files of this type are pictures that are looked into.
pub fn is_picture(media_type: &MediaType) -> bool {
    format_of(media_type).is_some()
}

/// The picture without what it tells, and a small one of it. Takes time and memory: for a thread that may
/// block.
///
/// # Errors
/// It is none, or a broken one.
pub fn clean(bytes: &Bytes, media_type: &MediaType) -> Result<Picture, PictureBroken> {
    let format = format_of(media_type).ok_or_else(|| PictureBroken::new("it is no picture"))?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes.clone()), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODING_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(PictureBroken::new)?;
    let (width, height) = decoder.dimensions();
    // Not all of it can be read everywhere; what cannot is as if it were not there.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let small = if u64::from(width) * u64::from(height) > PIXELS_MAX {
        None
    } else {
        let mut picture = DynamicImage::from_decoder(decoder).map_err(PictureBroken::new)?;
        picture.apply_orientation(orientation);
        Some(small(&picture)?)
    };
    let bytes = match format {
        ImageFormat::Jpeg => jpeg(bytes, orientation).map(Bytes::from),
        ImageFormat::Png => png(bytes.clone(), orientation),
        ImageFormat::WebP => webp(bytes.clone(), orientation),
        // It has no place for where it was taken.
        _ => Some(bytes.clone()),
    };
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    Ok(Picture {
        bytes: bytes.ok_or_else(|| PictureBroken::new("its parts do not fit together"))?,
        dimensions: if turned {
            Dimensions {
                width: height,
                height: width,
            }
        } else {
            Dimensions { width, height }
        },
        small,
    })
}

fn small(picture: &DynamicImage) -> Result<Small, PictureBroken> {
    let fits = picture.width() <= SMALL_SIDE_MAX && picture.height() <= SMALL_SIDE_MAX;
    let small = if fits {
        picture.clone()
    } else {
        picture.thumbnail(SMALL_SIDE_MAX, SMALL_SIDE_MAX)
    };
    let dimensions = Dimensions {
        width: small.width(),
        height: small.height(),
    };
    let mut bytes = Cursor::new(Vec::new());
    let media_type = if small.color().has_alpha() {
        let small = DynamicImage::from(small.to_rgba8());
        small
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(PictureBroken::new)?;
        "image/png"
    } else {
        small
            .to_rgb8()
            .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, SMALL_QUALITY))
            .map_err(PictureBroken::new)?;
        "image/jpeg"
    };
    Ok(Small {
        bytes: bytes.into_inner().into(),
        media_type: MediaType::parse(media_type).map_err(PictureBroken::new)?,
        dimensions,
    })
}

/// EXIF that says which way up a picture is and nothing else: a TIFF with one entry.
fn exif(orientation: Orientation) -> Option<Bytes> {
    if orientation == Orientation::NoTransforms {
        return None;
    }
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.push(orientation.to_exif());
    tiff.extend([0; 6]);
    Some(tiff.into())
}

/// How EXIF begins in a JPEG.
const EXIF_PREFIX: &[u8] = b"Exif\0\0";

/// Markers of a JPEG (ITU-T T.81, table B.1).
mod marker {
    pub(super) const START: u8 = 0xd8;
    pub(super) const END: u8 = 0xd9;
    pub(super) const SCAN: u8 = 0xda;
    pub(super) const COMMENT: u8 = 0xfe;
    pub(super) const APP0: u8 = 0xe0;
    pub(super) const APP1: u8 = 0xe1;
    pub(super) const APP2: u8 = 0xe2;
    pub(super) const APP14: u8 = 0xee;
    pub(super) const APP15: u8 = 0xef;

    /// Whether it stands alone, without a length.
    pub(super) const fn is_alone(marker: u8) -> bool {
        matches!(marker, 0x01 | 0xd0..=0xd7)
    }
}

/// Whether a segment says how the pixels are meant, and not where they are from.
fn is_needed(kind: u8, content: &[u8]) -> bool {
    match kind {
        marker::APP0 => content.starts_with(b"JFIF\0"),
        marker::APP2 => content.starts_with(b"ICC_PROFILE\0"),
        marker::APP14 => content.starts_with(b"Adobe"),
        marker::APP1..=marker::APP15 | marker::COMMENT => false,
        _ => true,
    }
}

/// The segments that are needed, up to the end of the picture: what comes behind it, such as another
/// picture or a film, is left out.
fn jpeg(bytes: &[u8], orientation: Orientation) -> Option<Vec<u8>> {
    let mut rest = bytes.strip_prefix(&[0xff, marker::START])?;
    let mut out = vec![0xff, marker::START];
    let mut turned = exif(orientation);
    loop {
        let begins = rest.iter().position(|byte| *byte == 0xff);
        let Some(begins) = begins else {
            // It was cut off; decoders show as much as there is.
            out.extend([0xff, marker::END]);
            return Some(out);
        };
        let fill = rest[begins..].iter().take_while(|byte| **byte == 0xff);
        let at = begins + fill.count();
        let kind = *rest.get(at)?;
        rest = &rest[at + 1..];
        if kind != marker::APP0
            && let Some(tiff) = turned.take()
        {
            let content = [EXIF_PREFIX, &tiff].concat();
            write(&mut out, marker::APP1, &content)?;
        }
        if kind == marker::END {
            out.extend([0xff, marker::END]);
            return Some(out);
        }
        if marker::is_alone(kind) {
            out.extend([0xff, kind]);
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let content = rest.get(2..length)?;
        rest = &rest[length..];
        if is_needed(kind, content) {
            write(&mut out, kind, content)?;
        }
        if kind == marker::SCAN {
            let scan = scan(rest);
            out.extend(&rest[..scan]);
            rest = &rest[scan..];
        }
    }
}

fn write(out: &mut Vec<u8>, kind: u8, content: &[u8]) -> Option<()> {
    let length = u16::try_from(content.len() + 2).ok()?;
    out.extend([0xff, kind]);
    out.extend(length.to_be_bytes());
    out.extend(content);
    Some(())
}

/// How long the pixels of a scan are: up to the next marker, but for those that stand among pixels.
fn scan(bytes: &[u8]) -> usize {
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd7);
    let ends = bytes.windows(2).position(is_marker);
    ends.unwrap_or(bytes.len())
}

/// Chunks of a PNG that say how the pixels are, how they are meant, and how they move.
const PNG_CHUNKS: [&[u8; 4]; 18] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP",
    b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

fn png(bytes: Bytes, orientation: Orientation) -> Option<Bytes> {
    let mut png = Png::from_bytes(bytes).ok()?;
    png.chunks_mut()
        .retain(|chunk| PNG_CHUNKS.contains(&&chunk.kind()));
    png.set_exif(exif(orientation));
    Some(png.encoder().bytes())
}

/// The same of a WebP.
const WEBP_CHUNKS: [&[u8; 4]; 7] = [
    b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP",
];

/// In the flags of a WebP: that there is XMP.
const WEBP_HAS_XMP: u8 = 0b0000_0100;

fn webp(bytes: Bytes, orientation: Orientation) -> Option<Bytes> {
    let mut webp = WebP::from_bytes(bytes).ok()?;
    for chunk in webp.chunks_mut() {
        if chunk.id() == *b"VP8X"
            && let Some(flags) = chunk.content().data()
        {
            let mut flags = flags.to_vec();
            *flags.first_mut()? &= !WEBP_HAS_XMP;
            *chunk = RiffChunk::new(*b"VP8X", RiffContent::Data(flags.into()));
        }
    }
    webp.chunks_mut()
        .retain(|chunk| WEBP_CHUNKS.contains(&&chunk.id()));
    webp.set_exif(exif(orientation));
    Some(webp.encoder().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage, Rgba, RgbaImage};
    use img_parts::ImageICC as _;
    use img_parts::jpeg::{Jpeg, JpegSegment};
    use img_parts::png::PngChunk;

    /// What no picture says afterwards.
    const SECRET: &[u8] = b"N 59 19 E 18 04";

    fn media_type(name: &str) -> MediaType {
        MediaType::parse(name).unwrap()
    }

    /// Wider than high, its left half red.
    fn pixels(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, _| {
            Rgb(if x < width / 2 {
                [250, 0, 0]
            } else {
                [0, 0, 250]
            })
        })
        .into()
    }

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Bytes {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner().into()
    }

    fn has_secret(bytes: &[u8]) -> bool {
        bytes.windows(SECRET.len()).any(|window| window == SECRET)
    }

    /// Says where it was taken, and that it lies on its side.
    fn telling(orientation: Orientation) -> Bytes {
        [&exif(orientation).unwrap(), SECRET].concat().into()
    }

    fn decoded(bytes: &Bytes, format: ImageFormat) -> (DynamicImage, Orientation) {
        let reader = ImageReader::with_format(Cursor::new(bytes.clone()), format);
        let mut decoder = reader.into_decoder().unwrap();
        let orientation = decoder.orientation().unwrap();
        (DynamicImage::from_decoder(decoder).unwrap(), orientation)
    }

    #[test]
    fn a_jpeg_loses_what_it_tells_and_keeps_pixels_colours_and_which_way_is_up() {
        let plain = encoded(&pixels(40, 20), ImageFormat::Jpeg);
        let mut told = Jpeg::from_bytes(plain.clone()).unwrap();
        told.set_icc_profile(Some(Bytes::from_static(b"colours")));
        told.set_exif(Some(telling(Orientation::Rotate90)));
        let secret = Bytes::from_static(SECRET);
        for kind in [marker::COMMENT, marker::APP1 + 12] {
            let segment = JpegSegment::new_with_contents(kind, secret.clone());
            told.segments_mut().insert(1, segment);
        }
        let mut told = told.encoder().bytes().to_vec();
        told.extend(b"a film, taken at ");
        told.extend(SECRET);
        let told = Bytes::from(told);
        assert!(has_secret(&told));
        let picture = clean(&told, &media_type("image/jpeg")).unwrap();
        assert!(!has_secret(&picture.bytes));
        let kept = Jpeg::from_bytes(picture.bytes.clone()).unwrap();
        assert_eq!(kept.icc_profile().as_deref(), Some(&b"colours"[..]));
        let (shown, orientation) = decoded(&picture.bytes, ImageFormat::Jpeg);
        assert_eq!(orientation, Orientation::Rotate90);
        assert_eq!(
            shown,
            decoded(&plain, ImageFormat::Jpeg).0,
            "not encoded anew"
        );
        let turned = Dimensions {
            width: 20,
            height: 40,
        };
        assert_eq!(picture.dimensions, turned);
        let small = picture.small.unwrap();
        assert_eq!(small.dimensions, turned);
        assert_eq!(small.media_type.as_str(), "image/jpeg");
        let (small, _) = decoded(&small.bytes, ImageFormat::Jpeg);
        let top = small.to_rgb8().get_pixel(10, 2).0;
        assert!(top[0] > 200 && top[2] < 50, "the red side is up: {top:?}");
    }

    #[test]
    fn what_has_nothing_to_tell_stays_as_it_is() {
        for (format, name) in [
            (ImageFormat::Jpeg, "image/jpeg"),
            (ImageFormat::Png, "image/png"),
            (ImageFormat::Gif, "image/gif"),
            (ImageFormat::WebP, "image/webp"),
        ] {
            let plain = encoded(&pixels(40, 20), format);
            let picture = clean(&plain, &media_type(name)).unwrap();
            assert_eq!(picture.bytes, plain, "{name}");
        }
    }

    #[test]
    fn a_png_and_a_webp_lose_what_they_tell() {
        let mut png = Png::from_bytes(encoded(&pixels(40, 20), ImageFormat::Png)).unwrap();
        png.set_exif(Some(telling(Orientation::Rotate180)));
        let text = PngChunk::new(*b"tEXt", Bytes::from_static(SECRET));
        png.chunks_mut().insert(1, text);
        let mut webp = WebP::from_bytes(encoded(&pixels(40, 20), ImageFormat::WebP)).unwrap();
        webp.set_exif(Some(telling(Orientation::Rotate180)));
        let xmp = RiffContent::Data(Bytes::from_static(SECRET));
        webp.chunks_mut().push(RiffChunk::new(*b"XMP ", xmp));
        for (told, format, name) in [
            (png.encoder().bytes(), ImageFormat::Png, "image/png"),
            (webp.encoder().bytes(), ImageFormat::WebP, "image/webp"),
        ] {
            assert!(has_secret(&told));
            let picture = clean(&told, &media_type(name)).unwrap();
            assert!(!has_secret(&picture.bytes), "{name}");
            let (_, orientation) = decoded(&picture.bytes, format);
            assert_eq!(orientation, Orientation::Rotate180, "{name}");
        }
    }

    #[test]
    fn a_small_picture_is_small_and_one_sees_through_it_as_before() {
        let through = RgbaImage::from_pixel(1_300, 650, Rgba([0, 0, 0, 7]));
        let bytes = encoded(&through.into(), ImageFormat::Png);
        let picture = clean(&bytes, &media_type("image/png")).unwrap();
        let small = picture.small.unwrap();
        let dimensions = Dimensions {
            width: 640,
            height: 320,
        };
        assert_eq!(small.dimensions, dimensions);
        assert_eq!(small.media_type.as_str(), "image/png");
        let (shown, _) = decoded(&small.bytes, ImageFormat::Png);
        assert_eq!(shown.to_rgba8().get_pixel(9, 9).0[3], 7);
    }

    #[test]
    fn a_broken_picture_is_refused_and_does_no_harm() {
        let whole = encoded(&pixels(40, 20), ImageFormat::Png);
        let png = media_type("image/png");
        for broken in [&whole[..0], &whole[..8], &whole[..40], b"tea"] {
            assert!(clean(&Bytes::copy_from_slice(broken), &png).is_err());
        }
        assert!(clean(&whole, &media_type("image/jpeg")).is_err());
        assert!(clean(&whole, &media_type("application/pdf")).is_err());
        // Says that it has four thousand million pixels.
        let mut bomb = whole.to_vec();
        bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let bomb = clean(&Bytes::from(bomb), &png);
        assert!(bomb.is_err() || bomb.is_ok_and(|it| it.small.is_none()));
    }

    #[test]
    fn whatever_comes_as_a_jpeg_is_walked_to_its_end() {
        let plain = encoded(&pixels(40, 20), ImageFormat::Jpeg);
        for cut in 0..plain.len() {
            let out = jpeg(&plain[..cut], Orientation::Rotate90);
            assert!(out.is_none_or(|out| out.ends_with(&[0xff, marker::END])));
        }
    }
}
