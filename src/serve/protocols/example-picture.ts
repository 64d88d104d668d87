/** A picture for examples: a gradient of 16 x 16 pixels. */

/** It as a WebP file in base64. */
export const EXAMPLE_BASE64 =
  'UklGRkoAAABXRUJQVlA4ID4AAAAQAgCdASoQABAAAsBMJbACdH8AGBwAWlbYAP724pGseY2xGEUnWctf9yZPWdx6HWBAG+L/pivz/tml5a6AAA==';

/** It as a data URL. */
export const EXAMPLE_DATA_URL: string = `data:image/webp;base64,${EXAMPLE_BASE64}`;
