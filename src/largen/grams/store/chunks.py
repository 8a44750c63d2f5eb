"""The files of a store as whoever has the result reads them: whole, or with an error that says what is wrong."""

from pathlib import PurePosixPath
from typing import Any

import google_crc32c
import numpy as np
from zarr.storage import LocalStore

from largen.errors import InputError
from largen.grams.store.log import named


class Chunks(LocalStore):
    """A Zarr store whose blocks are all there: one that is gone, or is not as it was written, is an `InputError` when it is read, where
    Zarr would fill in NaN. Blocks end with their CRC-32C."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        try:
            return self._whole(key, await super().get(key, prototype, byte_range))
        except OSError as error:
            raise self._broken(key, f"cannot be read ({error.strerror})") from error

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        try:
            return self._whole(key, super().get_sync(key, prototype=prototype, byte_range=byte_range))
        except OSError as error:
            raise self._broken(key, f"cannot be read ({error.strerror})") from error

    def _whole(self, key: str, data: Any) -> Any:
        if "c" not in PurePosixPath(key).parts:  # not a block
            return data
        if data is None:
            raise self._broken(key, "is gone")
        values = data.as_numpy_array()
        if np.uint32(google_crc32c.value(values[:-4])).tobytes() != values[-4:].tobytes():
            raise self._broken(key, "is not as it was written")
        return data

    def _broken(self, key: str, how: str) -> InputError:
        fix = "The same call of lg.gram computes it again."
        return InputError("store", f"{named(self.root)}, whose block {key} {how}", "blocks as they were written", fix)
