-- Anomaly Confidence Score, of each detector: mean and least of its series at their newest rows.
WITH newest_day AS (
  SELECT detectorname, timeseriesid, max("date") AS day
  FROM results
  WHERE "date" BETWEEN :first_date AND :last_date
    AND detectionperiodstarttime >= :from_time
    AND detectionperiodstarttime < :to_time
    AND (:detector = '' OR detectorname = :detector)
    AND (:series = '' OR timeseriesid = :series)
  GROUP BY detectorname, timeseriesid
), newest AS (
  SELECT
    results.detectorname,
    max_by(anomalyconfidencescore, detectionperiodstarttime) AS confidence,
    max_by(modelstage, detectionperiodstarttime) AS stage
  FROM results
  JOIN newest_day
    ON results."date" = newest_day.day
    AND results.detectorname = newest_day.detectorname
    AND results.timeseriesid = newest_day.timeseriesid
  WHERE detectionperiodstarttime >= :from_time
    AND detectionperiodstarttime < :to_time
    AND "date" BETWEEN :first_date AND :last_date
  GROUP BY results.detectorname, results.timeseriesid
)
SELECT
  detectorname AS detector,
  avg(confidence) AS mean_confidence,
  min(confidence) AS least_confidence,
  count(CASE WHEN stage = 'LEARNING' THEN 1 END) AS series_learning
FROM newest
GROUP BY detectorname
ORDER BY detector
