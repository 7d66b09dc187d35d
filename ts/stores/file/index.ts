export { FileStore, type FileStoreOptions, type FileStoreStats } from './store.js';
