"""`posegen synth`: renders synthetic people into shards; needs no model."""

import json

from posegen.apps.terminal import Terminal
from posegen.config import SynthConfig, parse_fps, parse_size
from posegen.extras import require_extra
from posegen.media.files import AtomicFile


def synth(config: SynthConfig) -> None:
    """Make the shards, then the contact sheet if there is to be one."""
    require_extra("synthetic", "posegen synth")
    if config.contact_sheet is not None:
        AtomicFile(config.contact_sheet).discard()  # an unwritable path fails before hours of work
    from posegen.synthetic.clip import SyntheticClipSettings
    from posegen.synthetic.shard_writer import ShardSettings, make_shards
    from posegen.synthetic.workers import default_workers

    clip = SyntheticClipSettings(*parse_size(config.size), config.frames, float(parse_fps(config.fps)), config.style)
    settings = ShardSettings(config.split, config.clips, config.seed, config.clips_per_shard, clip)
    workers = default_workers() if config.workers is None else config.workers
    with Terminal() as terminal:
        index = make_shards(
            config.output, settings, workers, progress=lambda done, total: terminal.update("clips", done, total)
        )
        shards = json.loads(index.read_text())["shards"]
        size = sum(shard["bytes"] for shard in shards) / 1e6
        summary = f"{config.clips} clips in {len(shards)} shards ({size:,.1f} MB) are in {config.output}"
        if config.contact_sheet is None:
            terminal.say(f"{summary}; the same command with --contact-sheet sheet.jpg shows a few of them")
            return
        from posegen.apps.contact_sheet import write_contact_sheet

        write_contact_sheet(config.output, config.split, config.contact_sheet)
        terminal.say(f"{summary}; look at {config.contact_sheet}")
