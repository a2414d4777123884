#!/bin/sh
echo file
