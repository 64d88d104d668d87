export default { serverExternalPackages: ['millrace'] };
