import subprocess
import sys

from isckit.judge.rules.experiments.watched import Watch


def test_files_opened_by_any_process_are_named_and_no_others(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"x")
    with Watch([tmp_path]) as watch:
        (tmp_path / "a.jpg").read_bytes()
        subprocess.run(["cat", tmp_path / "b.jpg"], check=True, capture_output=True)
        (tmp_path / "c.jpg").stat()
        sorted(tmp_path.iterdir())
    (tmp_path / "c.jpg").read_bytes()
    assert watch.opened == {tmp_path / "a.jpg", tmp_path / "b.jpg"}


def test_a_file_read_through_a_link_elsewhere_is_seen(tmp_path):
    real, other = tmp_path / "real", tmp_path / "other"
    real.mkdir()
    other.mkdir()
    (real / "a.jpg").write_bytes(b"x")
    (other / "link.jpg").symlink_to(real / "a.jpg")
    code = "import sys; open(sys.argv[1], 'rb').read()"
    with Watch([real]) as watch:
        subprocess.run([sys.executable, "-c", code, str(other / "link.jpg")], check=True)
    assert watch.opened == {real / "a.jpg"}
