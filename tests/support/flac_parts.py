"""A FLAC file of `bench.audio.equal_flac`, read bit by bit: what of it is sound, and what is not."""


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.text = bin(int.from_bytes(data, "big"))[2:].zfill(8 * len(data))
        self.at = 0

    def take(self, count: int) -> str:
        found = self.text[self.at : self.at + count]
        self.at += count
        return found

    def number(self, count: int) -> int:
        return int(self.take(count) or "0", 2)


def beside_the_sound(data: bytes) -> bytes:
    """Return all of a file but warm-up samples, residuals and the frames' checksums, which follow from both.

    Bits are spelled as letters. What comes after the last sample is part of it.
    """
    bits = _Bits(data)
    out = ["".join(map(chr, data[:4]))]
    assert data[:4] == b"fLaC", f"no sound came: {data[:200]!r}"
    bits.at = 32
    last = False
    total = 0
    while not last:
        last, kind, length = bits.take(1) == "1", bits.number(7), bits.number(24)
        begin = bits.at // 8
        block = data[begin : begin + length]
        bits.at += 8 * length
        out.append(f"block {kind}: {block.hex()}")
        if kind == 0:
            total = int.from_bytes(block[10:18], "big") & (2**36 - 1)
    while total > 0:
        head = bits.take(32)
        out.append(head)
        first = bits.take(8)
        more = 0 if first[0] == "0" else len(first) - len(first.lstrip("1")) - 1
        out += [first, bits.take(8 * more)]
        assert head[:16] == "1111111111111000", f"a frame begins here: {head}"
        code = int(head[16:20], 2)
        assert code in (7, 12), "4096 samples or as many as are said"
        size = 4096
        if code == 7:
            size = bits.number(16) + 1
            out.append(str(size))
        out += [bits.take(8), bits.take(8)]  # the header's checksum; the subframe's type
        order = int(out[-1][4:7], 2)
        assert out[-1][:4] == "0001", "a fixed predictor"
        bits.take(16 * order)
        out += [bits.take(2), bits.take(4)]
        partitions = 1 << int(out[-1], 2)
        for partition in range(partitions):
            width = bits.number(5)
            out.append(str(width))
            count = size // partitions - (order if partition == 0 else 0)
            quotients = bits.take(count * (width + 1))[:: width + 1]
            assert quotients == "1" * count, "a quotient, whose length would be the sound's"
        spare = -bits.at % 8
        out.append(bits.take(spare))
        bits.at += 16
        total -= size
    return (" ".join(out)).encode() + data[bits.at // 8 :]
