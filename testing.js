'use strict';

module.exports = require('./dist/testing/index.js');
