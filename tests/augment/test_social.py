import numpy as np

from isckit.augment import augly, social
from isckit.augment.compose import paste


def test_text_covers_a_small_part_more_with_larger_letters_and_fades_with_opacity(photo, generator):
    image = np.full((200, 300, 3), 120, np.uint8)
    covered = [
        np.mean([(social.text(image, generator(k), share=(s, s)) != 120).any(axis=2).mean() for k in range(8)])
        for s in (0.05, 0.1, 0.3)
    ]
    assert 0.001 < covered[0] < covered[1] < covered[2] < 0.3
    full = social.text(image, generator(2)).astype(float) - 120
    faint = social.text(image, generator(2), opacity=(0.25, 0.25)).astype(float) - 120
    np.testing.assert_allclose(faint, full / 4, atol=0.51)


def test_every_font_draws_the_text_that_is_asked_for(generator):
    from PIL import Image, ImageDraw, ImageFont

    image = np.zeros((80, 300, 3), np.uint8)
    for name in augly.FONTS:
        wanted = Image.fromarray(image)
        font = ImageFont.truetype(augly.font(name), 30)
        ImageDraw.Draw(wanted).text((30, 8), "Ab z09", fill=(255, 255, 255), font=font)
        out = augly.call(
            "overlay_text", image, generator(), text=augly.glyphs("Ab z09"), font_file=augly.font(name),
            font_size=0.38, color=(255, 255, 255), x_pos=0.1, y_pos=0.1,
        )  # fmt: skip
        assert (out > 128).sum() > 150, name
        np.testing.assert_array_equal(out, np.array(wanted), err_msg=name)


def test_emoji_are_augly_pictures_at_their_size(generator):
    assert len(augly.emoji_files()) > 800
    assert all(augly.emoji(k).shape == (72, 72, 4) for k in range(0, len(augly.emoji_files()), 40))
    image = np.zeros((144, 200, 3), np.uint8)
    whole = 0
    for seed in range(30):
        changed = social.emoji(image, generator(seed), share=(0.5, 0.5)).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        if len(rows):
            assert rows[-1] - rows[0] < 72 and columns[-1] - columns[0] < 72
            whole += rows[-1] - rows[0] > 60
    assert whole > 3
    still = social.emoji(image, generator(), opacity=(0.0, 0.0))
    np.testing.assert_array_equal(still, image)


def test_our_emoji_paste_equals_auglys(generator):
    index, image = 700, np.full((100, 100, 3), 90, np.uint8)
    theirs = augly.call(
        "overlay_emoji", image, generator(), emoji_path=str(augly.emoji_files()[index]),
        emoji_size=0.72, x_pos=0.1, y_pos=0.1,
    )  # fmt: skip
    picture = augly.emoji(index)
    ours = paste(image, picture[..., :3], top=10, left=10, alpha=picture[..., 3:] / np.float32(255))
    assert (theirs != 90).any(axis=2).mean() > 0.1
    np.testing.assert_allclose(ours.astype(int), theirs.astype(int), atol=1)


def test_meme_is_a_caption_bar_of_two_colours_above_the_untouched_image(photo, generator):
    for shape in [(120, 160), (90, 20), (1, 200)]:
        image = photo(*shape)
        for seed in range(10):
            out = social.meme(image, generator(seed))
            np.testing.assert_array_equal(out[-shape[0] :], image)
            bar = out[: -shape[0]]
            assert bar.shape[1] == shape[1] and len(bar) >= 1
            if shape == (120, 160):
                assert 20 <= len(bar) <= 45 and (bar != bar[0, 0]).any()


def test_a_caption_of_the_widest_letters_still_fits(photo, generator, monkeypatch):
    monkeypatch.setattr(social, "_LETTERS", "W")
    for width in (1, 64, 70, 76, 400):
        for seed in range(6):
            assert social.meme(photo(100, width), generator(seed), share=(0.0, 0.4)).shape[1] == width


def test_a_screenshot_shows_the_image_on_a_larger_page(generator):
    image = np.zeros((120, 160, 3), np.uint8)
    image[...] = (250, 3, 40)
    pages = set()
    for seed in range(12):
        out = social.screenshot(image, generator(seed))
        shown = (np.abs(out.astype(int) - image[0, 0]).max(axis=2) == 0).mean()
        assert 0.1 < shown < 0.6 and out.shape[0] * out.shape[1] > image.shape[0] * image.shape[1]
        pages.add(out.shape[0] > out.shape[1])
    assert pages == {True, False}


def test_stripes_cover_about_their_width_and_leave_the_rest(generator):
    image = np.full((128, 128, 3), 100, np.uint8)
    for seed in range(12):
        out = social.stripes(image, generator(seed), width=(0.2, 0.2), density=(0.7, 0.7), opacity=(1, 1))
        assert 0.02 < (out != 100).any(axis=2).mean() < 0.3


def test_emoji_of_a_category_are_of_its_folder_and_their_corner_lies_where_told(generator):
    smileys = augly.emoji_numbers("smileys")
    assert {augly.emoji_files()[k].parent.name for k in smileys} == {"smileys"}
    assert augly.emoji_numbers("") == tuple(range(len(augly.emoji_files())))
    image = np.zeros((100, 200, 3), np.uint8)
    corners = []
    for seed in range(40):
        out = social.emoji(image, generator(seed), share=(0.7, 0.7), corner=(0.25, 0.25), category="smileys")
        corners.append(np.argwhere(out.any(axis=2)).min(axis=0))
    np.testing.assert_allclose(np.min(corners, axis=0), (25, 50), atol=3)  # a picture may have an empty margin
    assert (np.max(corners, axis=0) <= (45, 70)).all()


def test_text_of_no_letters_is_nothing(photo, generator):
    image = photo(40, 50)
    np.testing.assert_array_equal(social.text(image, generator(), letters=(0, 0), lines=(1, 1)), image)


def test_text_inside_is_never_cut_off_and_of_many_lengths(generator):
    image = np.full((80, 100, 3), 120, np.uint8)
    touching, widths = 0, set()
    for seed in range(80):
        ink = (social.text_inside(image, generator(seed), share=(0.15, 0.15), opacity=(1, 1)) != 120).any(axis=2)
        if ink.any():
            columns = np.flatnonzero(ink.any(axis=0))
            touching += bool(ink[:, -1].any() or ink[-1].any())
            widths.add(int(columns[-1] - columns[0]) // 10)
    assert touching < 10 and len(widths) > 5
    covered = [
        np.mean([(social.text_inside(image, generator(k), share=(s, s)) != 120).mean() for k in range(20)])
        for s in (0.1, 0.3)
    ]
    assert 0.001 < covered[0] < covered[1]
