'use strict';

module.exports = require('./dist/stores/redis/index.js');
