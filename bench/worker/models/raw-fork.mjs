process.on('message', ({ id, value }) => process.send({ id, value: typeof value === 'number' ? value + 1 : value }));
