// Lets the compiler accept imports of Node.js's own modules, without types. Not needed where @types/node is installed.

declare module 'node:*';
