"""What a run logs can be looked at: in TensorBoard, and as files."""

import io

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from posegen.train.logs import Logs
from posegen.train.stage import Validation


def test_sample_videos_move_in_tensorboard(tmp_path):
    video = np.zeros((5, 300, 96, 3), np.uint8)
    for number, frame in enumerate(video):
        frame[:, 16 * number : 16 * number + 16] = (200, 100, 50)
    logs = Logs(tmp_path, 0)
    logs.validation(Validation(scalars={"loss": 1.0}, videos={"sample_0": video}), 7)
    logs.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0}).Reload()
    (event,) = events.Images("validation/sample_0_video")
    assert (event.step, event.height, event.width) == (7, 300, 96)
    with Image.open(io.BytesIO(event.encoded_image_string)) as shown:
        assert (shown.format, shown.n_frames, shown.size) == ("GIF", 5, (82, 256))
        for number in range(5):
            shown.seek(number)
            middle = np.asarray(shown.convert("RGB"))[128]
            assert round(float(middle[:, 0].argmax()) / 82 * 6) == number
            assert np.abs(middle.max(0).astype(int) - (200, 100, 50)).max() < 8
    assert (tmp_path / "samples" / "sample_0-0000007.mp4").is_file()


def test_a_damaged_log_of_before_is_no_hindrance(tmp_path):
    kept = b'{"step": 1, "loss": 0.5}'
    (tmp_path / "metrics.jsonl").write_bytes(kept + b'\n\xff\xfe\n{"step": "x"}\nnull\n{"step": 9}\n')
    Logs(tmp_path, 1).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == kept + b"\n"
