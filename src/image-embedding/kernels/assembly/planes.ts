/** Pixels of RGB bytes to planes: each byte becomes what the table of its channel says. Three of these, for numbers of 1, 2 and 4 bytes. */

function write<T>(source: usize, pixels: i32, tables: usize, red: usize, green: usize, blue: usize): void {
  const table = 256 * sizeof<T>();
  for (const end = source + 3 * <usize>pixels; source < end; source += 3) {
    store<T>(red, load<T>(tables + <usize>load<u8>(source) * sizeof<T>()));
    store<T>(green, load<T>(tables + table + <usize>load<u8>(source, 1) * sizeof<T>()));
    store<T>(blue, load<T>(tables + 2 * table + <usize>load<u8>(source, 2) * sizeof<T>()));
    red += sizeof<T>();
    green += sizeof<T>();
    blue += sizeof<T>();
  }
}

export function writePlanes8(source: usize, pixels: i32, tables: usize, red: usize, green: usize, blue: usize): void {
  write<u8>(source, pixels, tables, red, green, blue);
}

export function writePlanes16(source: usize, pixels: i32, tables: usize, red: usize, green: usize, blue: usize): void {
  write<u16>(source, pixels, tables, red, green, blue);
}

export function writePlanes32(source: usize, pixels: i32, tables: usize, red: usize, green: usize, blue: usize): void {
  write<u32>(source, pixels, tables, red, green, blue);
}
