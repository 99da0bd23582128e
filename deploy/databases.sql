-- One database for each plugin and one for the kernel; `realserv migrate` fills them.
-- Run by the postgres image when its data folder is empty; for a plugin that comes later, create its database by hand.
CREATE DATABASE kernel;
CREATE DATABASE identity;
CREATE DATABASE vendor;
CREATE DATABASE catalog;
CREATE DATABASE "order";
CREATE DATABASE payment;
CREATE DATABASE notification;
CREATE DATABASE integration;
