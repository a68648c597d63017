"""The text headers of NRRD and MetaImage files, read only as far as it takes to refuse a bad file before reading it.

SimpleITK does the actual reading. But it allocates what the header announces before it looks for the voxels, repairs
impossible spacings, and reports other faults in its own words on stderr.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import GeometryError, InputError
from .limits import require_enough_bytes
from .volume_file import check_spacing

HEADER_LIMIT = 2**20
ENCODINGS = ("raw", "ascii", "text", "txt", "hex", "gzip", "gz")  # those of NRRD that SimpleITK reads

NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    "float": 4,
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
}
META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip

_NO_PATIENT = ("scanner", "3d-")  # NRRD's spaces of a device, and of nothing in particular

_WITH_TIME = {
    **dict.fromkeys(("right-anterior-superior-time", "rast"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior-time", "last"), (1.0, -1.0, 1.0)),
}


@dataclass(frozen=True)
class TextHeader:
    """What matters of a header. ``directions`` (3, 3): one row per spatial axis, in mm, or None where not given.

    ``kinds`` are NRRD's, one per axis, empty for MetaImage. ``bytes_needed`` is None where the voxel type is unknown,
    ``bytes_packed`` where the header does not say how many compressed bytes there are. ``tells_sides``: whether the header says
    how the axes lie in the patient. ``to_lps``: signs of the coordinates that SimpleITK leaves as they are in spaces with time.
    """

    path: Path
    sizes: tuple[int, ...]
    bytes_needed: int | None
    compressed: bool
    data_files: tuple[Path, ...]
    data_offset: int
    directions: np.ndarray | None
    spacing: tuple[float, ...] = ()
    kinds: tuple[str, ...] = ()
    bytes_packed: int | None = None
    tells_sides: bool = True
    to_lps: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def check(self) -> None:
        """Raise InputError or GeometryError for what can be told from the header and the sizes of the files."""
        name = str(self.path)
        if self.spacing:
            check_spacing(self.spacing, name)
        if self.directions is not None:
            lengths = np.linalg.norm(self.directions, axis=1)
            check_spacing(lengths, name)
            if len(lengths) == 3 and abs(np.linalg.det(self.directions / lengths[:, None])) < 1e-3:
                raise GeometryError(f"'{name}' has two axes that point the same way; export the file again.")
        missing = [file for file in self.data_files if not file.is_file()]
        if missing:
            raise InputError(f"'{name}' keeps its voxels in '{missing[0].name}', which is missing; copy both files.")
        if self.data_files and self.bytes_needed is not None:
            present = max(0, sum(file.stat().st_size for file in self.data_files) - self.data_offset)
            require_enough_bytes(self.path, self.bytes_needed, present, self.compressed)
            if self.bytes_packed is not None:
                require_enough_bytes(self.path, self.bytes_packed, present, compressed=False)


def read_nrrd_header(path: Path) -> TextHeader:
    """Raises InputError if ``path`` is not an NRRD file or its header is incomplete."""
    raw, end = _raw_header(path, b"NRRD000", (b"\n\n", b"\r\n\r\n"), "NRRD")
    fields: dict[str, str] = {}
    for line in raw.splitlines()[1:]:
        key, separator, value = line.partition(": ")
        if separator and not line.startswith("#") and ":=" not in line[: len(key) + 2]:
            fields[key.strip().lower()] = value.strip()
    try:
        sizes = tuple(int(size) for size in fields["sizes"].split())
        encoding = fields["encoding"].lower()
        item = NRRD_BYTES.get(fields["type"].lower())
        skip = max(0, int(fields.get("byte skip", fields.get("byteskip", "0"))))
        directions = _nrrd_directions(fields.get("space directions"))
        spacings = tuple(float(value) for value in fields.get("spacings", "").split())
    except (KeyError, ValueError) as error:
        raise _damaged(path) from error
    if encoding not in ENCODINGS:
        raise InputError(f"'{path}' is packed as {encoding}, which cannot be read; save it as gzip or raw.")
    if encoding in ("ascii", "text", "txt"):
        item = item and 1
    packed = encoding in ("gzip", "gz")
    detached = fields.get("data file", fields.get("datafile"))
    if len(sizes) > 3:
        # NaN marks the axis that is not spatial.
        spacings = tuple(value for value in spacings if not np.isnan(value))[:3]
    return TextHeader(
        path=path,
        sizes=sizes,
        bytes_needed=item and int(np.prod(sizes, dtype=object)) * item,
        compressed=packed,
        data_files=(path,) if detached is None else _detached(path, detached),
        data_offset=end if detached is None else 0 if packed else skip,  # skipped when unpacked
        directions=directions,
        spacing=spacings,
        kinds=tuple(fields.get("kinds", "").split()),
        tells_sides=directions is not None and not fields.get("space", "scanner").lower().startswith(_NO_PATIENT),
        to_lps=_WITH_TIME.get(fields.get("space", "").lower(), (1.0, 1.0, 1.0)),
    )


def read_meta_header(path: Path) -> TextHeader:
    """The same for MetaImage (.mha, .mhd)."""
    raw, end = _raw_header(path, b"", (b"ElementDataFile",), "MetaImage")
    fields = {}
    for line in raw.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            fields[key.strip()] = value.strip()
    try:
        sizes = tuple(int(size) for size in fields["DimSize"].split())
        data_file = fields["ElementDataFile"]
        spacing = tuple(float(value) for value in fields.get("ElementSpacing", fields.get("ElementSize", "")).split())
        matrix = [float(value) for value in fields.get("TransformMatrix", fields.get("Orientation", "")).split()]
        components = int(fields.get("ElementNumberOfChannels", "1"))
        compressed = fields.get("CompressedData", "False").lower() in ("true", "1")
        packed = int(fields["CompressedDataSize"]) if compressed and "CompressedDataSize" in fields else None
    except (KeyError, ValueError) as error:
        raise _damaged(path) from error
    if compressed and packed is None:
        # SimpleITK then reports "Uncompress failed" on stderr and hands over memory that was never filled.
        raise InputError(
            f"'{path}' is compressed but has no CompressedDataSize in its header; save it again, "
            "uncompressed or as NRRD."
        )
    item = META_BYTES.get(fields.get("ElementType", ""))
    dimensions = len(sizes)
    directions = np.array(matrix).reshape(dimensions, dimensions)[:3, :3] if len(matrix) == dimensions**2 else None
    local = data_file.upper() == "LOCAL"
    return TextHeader(
        path=path,
        sizes=sizes,
        bytes_needed=item and int(np.prod(sizes, dtype=object)) * item * components,
        compressed=compressed,
        data_files=(path,) if local else _detached(path, data_file),
        data_offset=end if local else max(0, int(fields.get("HeaderSize", "0"))),
        directions=directions if dimensions >= 3 else None,
        spacing=spacing[:3],
        bytes_packed=packed,
        tells_sides=bool(matrix),
    )


def _raw_header(path: Path, magic: bytes, ends: tuple[bytes, ...], name: str) -> tuple[str, int]:
    """The header as text and the offset of the first byte after it."""
    with path.open("rb") as stream:
        raw = stream.read(HEADER_LIMIT)
    found = [(raw.find(end), end) for end in ends if raw.find(end) >= 0]
    if not raw.startswith(magic) or (name == "MetaImage" and not found):
        raise InputError(
            f"'{path}' is not a {name} file, although its name says so; give the scan itself, or the name that fits "
            "its format."
        )
    if not found:
        # A detached NRRD header may end with the file.
        return raw.decode("utf-8", errors="replace"), len(raw)
    position, end = min(found)
    if name == "MetaImage":
        line_end = raw.find(b"\n", position)
        stop = len(raw) if line_end < 0 else line_end + 1
    else:
        stop = position + len(end)
    return raw[:stop].decode("utf-8", errors="replace"), stop


def _nrrd_directions(text: str | None) -> np.ndarray | None:
    """'(1,0,0) none (0,1,0) (0,0,1)' -> rows of the spatial axes, or None."""
    if text is None:
        return None
    vectors = [part.strip("() ") for part in text.replace(") ", ")|").replace("none ", "none|").split("|")]
    rows = [[float(value) for value in vector.split(",")] for vector in vectors if vector and vector != "none"]
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(text)
    return np.array(rows, dtype=np.float64)


def _detached(path: Path, value: str) -> tuple[Path, ...]:
    """The data files; () where the header lists many by a pattern, which is left to SimpleITK."""
    if value.upper().startswith("LIST") or "%" in value:
        return ()
    return (path.parent / value,)


def _damaged(path: Path) -> InputError:
    return InputError(f"'{path}' is damaged: its header is incomplete; copy or export the file again.")
