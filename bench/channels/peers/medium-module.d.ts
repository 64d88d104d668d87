declare module 'medium' {
  interface Chan {
    readonly isClosed: boolean;
  }
  const medium: {
    chan(capacity?: number): Chan;
    put(channel: Chan, value: unknown): Promise<boolean>;
    take(channel: Chan): Promise<unknown>;
    close(channel: Chan): Chan;
    any(...channels: readonly Chan[]): Promise<[unknown, Chan]>;
  };
  export default medium;
}
