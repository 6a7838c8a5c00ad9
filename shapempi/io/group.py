"""A product as one HDF5 group: how it is laid out, written, read and checked.

    <group>/            attributes crc32, n_row
        arrays/<name>   one dataset per array; attributes band, crc32
        attrs           the product's attributes as JSON text

An array is checked in bands of rows, so that a section of it can be read and verified without the rest.  `crc32` of
an array holds one checksum per band of `band` rows; `crc32` of the group covers the names, dtypes, shapes and
checksums of all arrays and the attributes, so whatever is read of a product is tied to this one number.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np

from shapempi.errors import DataError
from shapempi.product import Product, Scalar

__all__ = ["ChecksumError", "product_crc32", "read_group", "read_rows", "write_group"]

#: Bytes of one band, which is also one chunk, and the size above which an array is compressed.
_BAND_BYTES = 512 * 1024
_COMPRESS_BYTES = 4096


class ChecksumError(DataError):
    """What was read is not what was written: a file that is being written to, or a damaged one."""


def write_group(parent: h5py.Group, name: str, product: Product, n_row: int = 0) -> int:
    """Write a product as a new group.

    Parameters
    ----------
    parent : h5py.Group
        Where the group is made.
    name : str
        Its name; must be free.
    product : Product
        What to write.
    n_row : int, optional
        Rows of the main table.

    Returns
    -------
    int
        Checksum of the product.

    Raises
    ------
    TypeError
        If an array or attribute has a type that a product may not have.
    """
    arrays = {key: _plain(key, product.arrays[key]) for key in sorted(product.arrays)}
    text = _attrs_text(product.attrs)
    group = parent.create_group(name)
    members = group.create_group("arrays")
    entries = []
    for key, array in arrays.items():
        band = _band(array)
        crcs = _crcs(array, band)
        options: dict[str, Any] = {}
        if array.nbytes > _COMPRESS_BYTES:
            options = {
                "chunks": (band, *array.shape[1:]),
                "compression": "gzip",
                "compression_opts": 1,
                "shuffle": True,
            }
        dataset = members.create_dataset(key, data=array, **options)
        dataset.attrs["band"] = band
        dataset.attrs["crc32"] = crcs
        entries.append(_entry(key, array.dtype, array.shape, band, crcs))
    group.create_dataset("attrs", data=np.bytes_(text))
    crc32 = _combine(entries, text)
    group.attrs["crc32"] = np.uint32(crc32)
    group.attrs["n_row"] = n_row
    return crc32


def product_crc32(product: Product) -> int:
    """Return the checksum that `write_group` gives this product, without writing it."""
    entries = []
    for key in sorted(product.arrays):
        array = _plain(key, product.arrays[key])
        band = _band(array)
        entries.append(_entry(key, array.dtype, array.shape, band, _crcs(array, band)))
    return _combine(entries, _attrs_text(product.attrs))


def read_group(group: h5py.Group, crc32: int, names: Iterable[str] | None = None) -> Product:
    """Read a product, or some arrays of it, and verify what is read.

    Parameters
    ----------
    group : h5py.Group
        The group that `write_group` made.
    crc32 : int
        Checksum of the whole product.
    names : iterable of str, optional
        Arrays to read; all by default, none (attributes only) if empty.

    Returns
    -------
    Product
        The arrays asked for and all attributes.

    Raises
    ------
    DataError
        If there is no array of such a name.
    ChecksumError
        If something that was read has another checksum.
    """
    text = _verify(group, crc32)
    members = group["arrays"]
    arrays = {}
    for name in sorted(members) if names is None else names:
        dataset = _member(group, members, name)
        array = _plain(name, np.asarray(dataset[()]))
        if not np.array_equal(_crcs(array, int(dataset.attrs["band"])), dataset.attrs["crc32"]):
            raise ChecksumError(f"array {name} has another checksum than when it was written")
        arrays[name] = array
    return Product(arrays, json.loads(text))


def read_rows(group: h5py.Group, crc32: int, name: str, start: int, stop: int) -> np.ndarray:
    """Read rows start..stop-1 (first axis) of one array and verify them.

    Parameters
    ----------
    group : h5py.Group
        The group that `write_group` made.
    crc32 : int
        Checksum of the whole product.
    name : str
        The array.
    start, stop : int
        Rows, 0 <= start <= stop <= number of rows.

    Returns
    -------
    ndarray
        The rows; whole bands are read and checked, so memory is that of the bands touched.

    Raises
    ------
    DataError
        If there is no such array, or the rows are outside it.
    ChecksumError
        If something that was read has another checksum.
    """
    _verify(group, crc32)
    dataset = _member(group, group["arrays"], name)
    if dataset.ndim == 0 or not 0 <= start <= stop <= dataset.shape[0]:
        raise DataError(f"array {name} has the shape {dataset.shape}: no rows {start}..{stop}")
    band = int(dataset.attrs["band"])
    first, last = start // band, math.ceil(stop / band)
    array = _plain(name, dataset[first * band : last * band])
    if array.shape[0] > 0 and not np.array_equal(_crcs(array, band), dataset.attrs["crc32"][first:last]):
        raise ChecksumError(f"array {name} has another checksum than when it was written")
    return array[start - first * band : stop - first * band]


def _verify(group: h5py.Group, crc32: int) -> bytes:
    """Check names, dtypes, shapes, attributes and array checksums of a group; return the attributes' text."""
    entries = []
    members = group["arrays"]
    for name in sorted(members):
        dataset = members[name]
        entries.append(_entry(name, dataset.dtype, dataset.shape, int(dataset.attrs["band"]), dataset.attrs["crc32"]))
    text = bytes(group["attrs"][()])
    if _combine(entries, text) != crc32:
        raise ChecksumError("the group has another checksum than the one committed")
    return text


def _member(group: h5py.Group, members: h5py.Group, name: str) -> h5py.Dataset:
    if name not in members:
        raise DataError(f"there is no array {name}; there are {', '.join(sorted(members)) or 'none'}")
    return members[name]


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array in the one form that is written and summed: packed, little-endian, C order."""
    array = np.asarray(array)
    if "/" in name or name in ("", "."):
        raise TypeError(f"{name!r} cannot name an array of a product")
    if array.dtype.hasobject or (array.dtype.kind in "UmMV" and array.dtype.names is None):
        raise TypeError(f"array {name} has the dtype {array.dtype}; a product holds numbers, bool and bytes ('S')")
    return np.ascontiguousarray(array, dtype=_canonical(array.dtype)).reshape(array.shape)


def _canonical(dtype: np.dtype) -> np.dtype:
    """Return a dtype packed, little-endian and without metadata."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((_canonical(base), shape))
    if dtype.names is not None:
        assert dtype.fields is not None
        return np.dtype([(name, _canonical(dtype.fields[name][0])) for name in dtype.names])
    return np.dtype(dtype.str).newbyteorder("<")


def _band(array: np.ndarray) -> int:
    """Return the number of rows in a band, at least 1."""
    if array.ndim == 0 or array.size == 0:
        return 1
    return max(1, min(array.shape[0], _BAND_BYTES * array.shape[0] // array.nbytes))


def _crcs(array: np.ndarray, band: int) -> np.ndarray:
    """Return the checksum of each band as uint32."""
    if array.ndim == 0:
        return np.array([zlib.crc32(array.tobytes())], np.uint32)
    if array.size == 0:
        return np.zeros(1, np.uint32)
    starts = range(0, array.shape[0], band)
    return np.array([zlib.crc32(array[k : k + band].reshape(-1).view(np.uint8).data) for k in starts], np.uint32)


def _entry(name: str, dtype: np.dtype, shape: tuple[int, ...], band: int, crcs: np.ndarray) -> list[Any]:
    return [name, _describe(_canonical(dtype)), list(shape), band, [int(crc) for crc in np.atleast_1d(crcs)]]


def _describe(dtype: np.dtype) -> str:
    return repr(dtype.descr) if dtype.names is not None else dtype.str


def _combine(entries: list[list[Any]], text: bytes) -> int:
    """Return the checksum over everything about a product but the data, which the entries stand for."""
    return zlib.crc32(text, zlib.crc32(json.dumps(entries, separators=(",", ":")).encode()))


def _attrs_text(attrs: Mapping[str, Scalar]) -> bytes:
    """Return attributes as JSON: sorted, exact (a float is written with all its digits)."""
    plain: dict[str, Scalar] = {}
    for name in sorted(attrs):
        value: Any = attrs[name]
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, str | int | float | bool):
            raise TypeError(f"attribute {name} is {value!r}; a product's attributes are text, numbers and bool")
        plain[name] = value
    return json.dumps(plain, separators=(",", ":")).encode()
