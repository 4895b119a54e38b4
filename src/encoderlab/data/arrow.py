"""Read Apache Arrow IPC files (.arrow, .feather) of both forms.

    ARROW1 ... index ARROW1                               file form, the same as Feather version 2
    ff ff ff ff schema, batches ... ff ff ff ff 0 0 0 0   stream form, which `datasets` writes

The content tells the two forms apart, because their files have the same endings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

FILE_START, STREAM_START = b"ARROW1", b"\xff\xff\xff\xff"
_STREAM_END = STREAM_START + bytes(4)


def read_table(path: Path) -> pyarrow.Table:
    """Read an Arrow file of either form.

    Raises:
        pyarrow.ArrowException, OSError, ValueError: the file is damaged or cut short, or has bytes after its table.
    """
    import pyarrow
    import pyarrow.ipc

    content = path.read_bytes()  # in memory, so that a damaged length is checked and not allocated
    if content.startswith(FILE_START):
        table = pyarrow.ipc.open_file(pyarrow.py_buffer(content)).read_all()
    else:
        table = _read_stream(content)
    table.validate(full=True)  # pyarrow does not check offsets and UTF-8 when it reads, but relies on both later
    return table


def _read_stream(content: bytes) -> pyarrow.Table:
    """Read a whole stream. pyarrow itself accepts a stream that is cut short, and stops at the first end marker."""
    import pyarrow
    import pyarrow.ipc

    if not content.endswith(_STREAM_END):
        raise pyarrow.ArrowInvalid("the stream has no end marker, so it may be cut short; write the file again")
    file = pyarrow.BufferReader(content)
    table = pyarrow.ipc.open_stream(file).read_all()
    if rest := len(content) - file.tell():
        raise pyarrow.ArrowInvalid(f"{rest} bytes follow the end of the stream; write one stream into each file")
    return table
