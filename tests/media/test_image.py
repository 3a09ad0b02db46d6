"""Pictures of every kind read as upright 8-bit RGB; bad ones give one clear line."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from skimage import data

from posegen.errors import OutputError, PosegenError
from posegen.media.image import read_image, write_image


@pytest.fixture
def picture():
    """(80, 100, 3), smooth, with a different colour in each corner."""
    y, x = np.mgrid[:80, :100]
    return np.stack([x * 2, y * 3, 255 - x - y], axis=-1).astype(np.uint8)


def test_lossless_round_trip(tmp_path, picture):
    write_image(tmp_path / "new" / "a.png", picture)
    found = read_image(tmp_path / "new" / "a.png")
    assert (found == picture).all()
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, picture, orientation):
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture),  # the camera stored it a quarter turn to the left
        7: np.rot90(picture, 2).transpose(1, 0, 2),
        8: np.rot90(picture, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png") == picture).all()


def test_alpha_goes_over_white(tmp_path, picture):
    alpha = np.zeros((80, 100), dtype=np.uint8)
    alpha[:, 50:] = 255
    alpha[:, 20:30] = 51
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "rgba.png")
    found = read_image(tmp_path / "rgba.png").astype(int)
    assert (found[:, :20] == 255).all()
    assert (found[:, 50:] == picture[:, 50:]).all()
    np.testing.assert_allclose(found[:, 20:30], 0.2 * picture[:, 20:30] + 0.8 * 255, atol=1)

    Image.fromarray(np.dstack([picture[..., 0], alpha])).save(tmp_path / "la.png")
    found = read_image(tmp_path / "la.png")
    assert (found[:, :20] == 255).all()
    assert (found[:, 50:] == picture[:, 50:, :1]).all()


def test_palette_and_colour_key_transparency(tmp_path, picture):
    palette = Image.fromarray(np.repeat((np.arange(100) >= 50).astype(np.uint8)[None], 80, axis=0), mode="P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=0)
    found = read_image(tmp_path / "p.png")
    assert (found[:, :50] == 255).all()
    assert (found[:, 50:] == (200, 100, 50)).all()

    keyed = picture.copy()
    keyed[:, :10] = (1, 2, 3)
    Image.fromarray(keyed).save(tmp_path / "key.png", transparency=(1, 2, 3))
    found = read_image(tmp_path / "key.png")
    assert (found[:, :10] == 255).all()
    assert (found[:, 10:] == picture[:, 10:]).all()


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_16_bit_grey_is_scaled(tmp_path, name):
    levels = np.linspace(0, 65535, 100).round().astype(np.uint16)
    Image.fromarray(np.repeat(levels[None], 80, axis=0)).save(tmp_path / name)
    assert (read_image(tmp_path / name)[0, :, 0] == np.round(levels / 257)).all()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_colour_is_scaled(tmp_path, channels, suffix):
    import cv2

    levels = np.random.default_rng(0).integers(0, 65536, (80, 100, channels), dtype=np.uint16)
    levels[..., 3:] = 65535
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), levels)
    bgr = read_image(tmp_path / f"a.{suffix}")[..., ::-1].astype(int)
    assert np.abs(bgr - np.round(levels[..., :3] / 257)).max() <= 1  # Pillow takes the high byte


def test_cmyk(tmp_path):
    # plain red and paper white in ink
    ink = np.zeros((80, 100, 4), dtype=np.uint8)
    ink[:, :50] = (0, 255, 255, 0)
    for name in ("a.tif", "a.jpg"):
        Image.fromarray(ink, mode="CMYK").save(tmp_path / name, quality=100)
        found = read_image(tmp_path / name)
        np.testing.assert_allclose(found[40, 10], (255, 0, 0), atol=3)
        np.testing.assert_allclose(found[40, 90], (255, 255, 255), atol=3)


def test_embedded_profile_is_used(tmp_path, picture, caplog):
    """A profile whose red and green primaries are exchanged exchanges red and green; sRGB changes nothing."""
    image = Image.fromarray(picture)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "srgb.png", icc_profile=srgb)
    assert (read_image(tmp_path / "srgb.png") == picture).all()

    exchanged = srgb.replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))
    exchanged = exchanged.replace(b"rXYZ", b"none").replace(b"gXYZ", b"rXYZ").replace(b"none", b"gXYZ")
    image.save(tmp_path / "exchanged.png", icc_profile=exchanged)
    found = read_image(tmp_path / "exchanged.png").astype(int)
    assert np.abs(found - picture[..., [1, 0, 2]]).max() <= 2

    image.save(tmp_path / "broken.png", icc_profile=b"this is no profile")
    assert (read_image(tmp_path / "broken.png") == picture).all()
    assert "colour profile cannot be used" in caplog.text


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (80, 80), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif") == (255, 0, 0)).all()


def test_pictures_of_people(media, tmp_path):
    assert read_image(media / "man.png").shape == (640, 360, 3)
    photo = data.astronaut()
    Image.fromarray(photo).save(tmp_path / "photo.jpeg", quality=95)
    assert np.abs(read_image(tmp_path / "photo.jpeg").astype(int) - photo).mean() < 3


def test_bad_pictures_give_one_line(tmp_path, media, picture):
    def refused(path, expected):
        with pytest.raises(PosegenError, match=expected) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    refused(tmp_path / "none.png", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "text.png").write_text("hello")
    refused(tmp_path / "text.png", "not a picture")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "not a picture")
    refused(media / "presenter.mp4", "not a picture")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    refused(tmp_path / "phone.heic", "HEIC")
    Image.fromarray(picture[:63]).save(tmp_path / "small.png")
    refused(tmp_path / "small.png", "63x100 .* too small; each side must be at least 64")
    for name in ("whole.png", "whole.jpg"):
        write_image(tmp_path / name, np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8))
        (tmp_path / f"cut_{name}").write_bytes((tmp_path / name).read_bytes()[:4000])
        refused(tmp_path / f"cut_{name}", "damaged or cut off")
    Image.fromarray(np.full((80, 80), 1.5, dtype=np.float32)).save(tmp_path / "float.tif")
    refused(tmp_path / "float.tif", "outside 0..65535")


@pytest.mark.parametrize("file_format", ["EPS", "PPM", "TGA", "ICO", "PCX", "PDF"])
def test_other_formats_reach_no_decoder(tmp_path, monkeypatch, picture, file_format):
    """Some of Pillow's decoders start other programs; a picture's name says nothing of its format."""
    Image.fromarray(picture).save(tmp_path / "other", format=file_format)
    (tmp_path / "other").rename(tmp_path / "a.png")
    Image.init()
    if file_format in Image.OPEN:
        monkeypatch.setitem(Image.OPEN, file_format, (lambda *_: pytest.fail("was opened"), None))
    with pytest.raises(PosegenError, match=r"a\.png: not a picture"):
        read_image(tmp_path / "a.png")


def test_what_cameras_write_is_read(tmp_path, picture):
    """JPEGs of several pictures, which Pillow takes for a format of its own."""
    first, second = Image.fromarray(picture), Image.fromarray(picture[::-1].copy())
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - picture).max() < 16


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.png", tmp_path, Path(os.devnull)):
        with pytest.raises(PosegenError, match="not a picture"):
            read_image(path)


def test_decompression_bomb(tmp_path, monkeypatch, picture):
    write_image(tmp_path / "a.png", picture)
    for limit in (picture.size // 3 - 1, 100):  # Pillow warns above the limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(PosegenError, match="scale it down"):
            read_image(tmp_path / "a.png")


@pytest.fixture(scope="module")
def encoded():
    """One picture in several formats, as bytes."""
    import io

    pixels = np.random.default_rng(1).integers(0, 255, (70, 66, 3), dtype=np.uint8)
    found = []
    for file_format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format=file_format)
        found.append(buffer.getvalue())
    return found


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, encoded, data):
    content = bytearray(data.draw(st.sampled_from(encoded)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = read_image(path)
        except PosegenError:
            return
    assert found.dtype == np.uint8
    assert found.ndim == 3


def test_writing_refuses(tmp_path, picture):
    with pytest.raises(PosegenError, match="pictures are written as"):
        write_image(tmp_path / "a.xyz", picture)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_image(tmp_path / "file" / "a.png", picture)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_image(tmp_path / "folder.png", picture)
