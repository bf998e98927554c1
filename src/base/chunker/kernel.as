// The hot loops of chunking and fingerprinting, in AssemblyScript: not TypeScript, though close to it.
// What they compute is specified in chunker.ts and fingerprint.ts beside this file; the caller has checked all bounds.
// After a change: node scripts/build-wasm.mjs

// Memory: the gear table in bytes 0 to 2047; the caller's bytes from `bytesAt` on (see scan-memory.ts).
const gearSeed: u64 = 0x746964656d61726b; // "tidemark" in ASCII

function fillGearTable(): void {
  let state = gearSeed;
  for (let byte: usize = 0; byte < 256; byte++) {
    state += 0x9e3779b97f4a7c15;
    let mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    store<u64>(byte << 3, mixed ^ (mixed >> 31));
  }
}
fillGearTable();

// @ts-ignore: decorator
@inline
function rolled(hash: u64, at: usize, offset: usize): u64 {
  return (hash << 1) + load<u64>(<usize>load<u8>(at + offset) << 3);
}

// The hash where the last scan stopped without finding a cut.
let hashAtEnd: u64 = 0;

/** End of the first prefix of `at` to `end` whose hash is below `threshold`, or 0. Eight steps a turn: 1 cycle a byte. */
function scan(at: usize, end: usize, hash: u64, threshold: u64): usize {
  while (at + 8 <= end) {
    hash = rolled(hash, at, 0); if (hash < threshold) return at + 1;
    hash = rolled(hash, at, 1); if (hash < threshold) return at + 2;
    hash = rolled(hash, at, 2); if (hash < threshold) return at + 3;
    hash = rolled(hash, at, 3); if (hash < threshold) return at + 4;
    hash = rolled(hash, at, 4); if (hash < threshold) return at + 5;
    hash = rolled(hash, at, 5); if (hash < threshold) return at + 6;
    hash = rolled(hash, at, 6); if (hash < threshold) return at + 7;
    hash = rolled(hash, at, 7); if (hash < threshold) return at + 8;
    at += 8;
  }
  for (; at < end; at++) {
    hash = rolled(hash, at, 0);
    if (hash < threshold) return at + 1;
  }
  hashAtEnd = hash;
  return 0;
}

/** End of the chunk that starts at `start`, of at most the bytes up to `end`. `least` is at least 64. */
export function cut(start: usize, end: usize, least: usize, average: usize, most: usize, strictBits: u64, looseBits: u64): usize {
  if (end - start <= least) return end;
  const limit = min(end, start + most);
  const turn = min(limit, start + average - 1);

  let hash: u64 = 0;
  const firstTested = start + least - 1;
  for (let at = firstTested - 63; at < firstTested; at++) hash = rolled(hash, at, 0);

  const strictCut = scan(firstTested, turn, hash, (<u64>1) << (64 - strictBits));
  if (strictCut) return strictCut;
  const looseCut = scan(turn, limit, hashAtEnd, (<u64>1) << (64 - looseBits));
  return looseCut ? looseCut : limit;
}

const prime1: u64 = 0x9e3779b185ebca87;
const prime2: u64 = 0xc2b2ae3d27d4eb4f;
const prime3: u64 = 0x165667b19e3779f9;
const prime4: u64 = 0x85ebca77c2b2ae63;
const prime5: u64 = 0x27d4eb2f165667c5;

// @ts-ignore: decorator
@inline
function round(lane: u64, input: u64): u64 {
  return rotl(lane + input * prime2, 31) * prime1;
}

// @ts-ignore: decorator
@inline
function merged(hash: u64, lane: u64): u64 {
  return (hash ^ round(0, lane)) * prime1 + prime4;
}

/** XXH64 of the bytes from `at` to `end`. */
export function fingerprint(at: usize, end: usize, seed: u64): u64 {
  const length = end - at;
  let hash: u64;
  if (length >= 32) {
    let lane1 = seed + prime1 + prime2;
    let lane2 = seed + prime2;
    let lane3 = seed;
    let lane4 = seed - prime1;
    do {
      lane1 = round(lane1, load<u64>(at));
      lane2 = round(lane2, load<u64>(at, 8));
      lane3 = round(lane3, load<u64>(at, 16));
      lane4 = round(lane4, load<u64>(at, 24));
      at += 32;
    } while (at + 32 <= end);
    hash = rotl(lane1, 1) + rotl(lane2, 7) + rotl(lane3, 12) + rotl(lane4, 18);
    hash = merged(hash, lane1);
    hash = merged(hash, lane2);
    hash = merged(hash, lane3);
    hash = merged(hash, lane4);
  } else {
    hash = seed + prime5;
  }
  hash += length;
  for (; at + 8 <= end; at += 8) hash = rotl(hash ^ round(0, load<u64>(at)), 27) * prime1 + prime4;
  if (at + 4 <= end) {
    hash = rotl(hash ^ (<u64>load<u32>(at) * prime1), 23) * prime2 + prime3;
    at += 4;
  }
  for (; at < end; at++) hash = rotl(hash ^ (<u64>load<u8>(at) * prime5), 11) * prime1;
  hash = (hash ^ (hash >> 33)) * prime2;
  hash = (hash ^ (hash >> 29)) * prime3;
  return hash ^ (hash >> 32);
}
