exports.x = require('./data.json');
